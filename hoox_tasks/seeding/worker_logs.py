"""What the workers say about what happened: the words of log lines, and the JSON beside them.

Funding and transfers have no table of their own. Their lines carry the amounts, exact to 8 decimals, in
`details`: `event` (`funding`, `deposit` or `withdrawal`), `exchange`, `asset` and `amount`, which is what
the wallet gained (below zero: lost) at the line's `timestamp`; funding also `symbol`, `side`, `size`,
`mark` and `rate`.
"""

from __future__ import annotations

GATEWAY, TRADER, NOTIFIER, WRITER = "hoox-gateway", "trade-worker", "telegram-worker", "d1-worker"


def funding(
    exchange: str, asset: str, symbol: str, side: str, size: float, mark: float, rate: float, amount: float
) -> tuple[str, str]:
    """The message and the details of one payment of funding; `rate` is a part of the position's worth."""
    verb = "received" if amount >= 0 else "paid"
    return (
        f"funding {verb} on {exchange}: {abs(amount):.4f} {asset} for {side} {size} {symbol}"
        f" at {rate * 100:.4f}%",
        f'{{"event": "funding", "exchange": "{exchange}", "asset": "{asset}", "symbol": "{symbol}",'
        f' "side": "{side}", "size": {size}, "mark": {mark}, "rate": {rate:.8f}, "amount": {amount:.8f}}}',
    )


def transfer(exchange: str, asset: str, amount: float) -> tuple[str, str]:
    """The message and the details of a deposit, or below zero of a withdrawal."""
    event = "deposit" if amount > 0 else "withdrawal"
    return (
        f"{event} of {abs(amount):,.2f} {asset} on {exchange} is booked",
        f'{{"event": "{event}", "exchange": "{exchange}", "asset": "{asset}", "amount": {amount:.8f}}}',
    )


def refused_withdrawal(exchange: str, asset: str, amount: float) -> str:
    """The message where a wallet has not enough that is free."""
    return f"withdrawal of {abs(amount):,.2f} {asset} from {exchange} is not possible: not enough is free"
