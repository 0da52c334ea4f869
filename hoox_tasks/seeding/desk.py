"""The desk: what becomes of an alert, from its text to the order that it asks for."""

from __future__ import annotations

from math import sqrt

from hoox_tasks.seeding.account import LONG, SHORT
from hoox_tasks.seeding.alerts import EMAIL, LATE, MINUTES, OLD, OVERTAKEN, PAUSED, REFUSED, Clock, Template
from hoox_tasks.seeding.execution import HOOKS, MAILS
from hoox_tasks.seeding.orders import Orders
from hoox_tasks.seeding.pools import CHATTER, Pools, draw_pools
from hoox_tasks.seeding.prices import Hour
from hoox_tasks.seeding.scenario import Scenario
from hoox_tasks.seeding.strategies import STYLES, Planner, Slot, strategies_of
from hoox_tasks.seeding.worker_logs import GATEWAY

_ASKED = {
    (True, LONG): ("LONG", "BUY"),
    (True, SHORT): ("SHORT", "SELL"),
    (False, LONG): ("CLOSE_LONG", "CLOSE_LONG"),
    (False, SHORT): ("CLOSE_SHORT", "CLOSE_SHORT"),
}
"""What a trade does, and the words for it in a signal, by whether it opens a position and on which side."""

_WORDS = {(True, LONG): "buy", (True, SHORT): "sell", (False, LONG): "sell", (False, SHORT): "buy"}
_HELD = {LONG: "long", SHORT: "short"}
"""The same as TradingView says it: what an order does, and what is held after it."""


class Desk(Orders):
    """Deals with alerts, one after another."""

    slot_count: int
    style_count: int
    variance: float
    spread_out: float

    __slots__ = (
        "chatter", "chatter_lines", "clocks", "extra_kinds", "line_kinds", "mask", "messages",
        "number", "planner", "pools", "rejected", "signal_kind", "signals", "slot_count",
        "source_count", "sources", "style_count", "templates", "usual",
    )  # fmt: skip

    def __init__(
        self, scenario: Scenario, seed: int, first: int, signals: int, snapshots: int, scale: float
    ) -> None:
        super().__init__(scenario, seed, first, signals, snapshots, scale)
        self.mask: int = self.ids.mask
        self.signal_kind: str = self.ids.kind(7)
        self.extra_kinds: list[str] = [
            self.ids.kind(8 + line) for line in range(int(scenario.logs.per_signal) + 2)
        ]
        self.pools: Pools = draw_pools(self.key, scenario.logs.messages)
        self.line_kinds: list[str] = self.extra_kinds[1:]
        lines = self.pools.chatter
        self.chatter_lines: tuple[tuple[str, str, str, str | None], ...] = (
            lines + lines[: len(self.extra_kinds)]
        )
        self.clocks: Clock = Clock()
        self.signals: int = signals
        self.number: int = 0
        self.templates: list[Template] = []
        for slot in self.slots:
            for name in scenario.desk.styles:
                found = strategies_of(name, slot.number, self.bigger)
                places = list(range(len(self.templates), len(self.templates) + len(found)))
                symbol = scenario.markets[slot.market].symbol
                self.templates += [Template(each, symbol, slot.account.name) for each in found]
                slot.strategies.append((STYLES[name], places))
        self.slot_count, self.style_count = len(self.slots), len(scenario.desk.styles)
        self.source_count: int = len(scenario.signals.sources)
        self.messages: bool = bool(scenario.logs.messages)

        self.planner: Planner = Planner(scenario, signals * 3_600 / self.length / max(1, len(self.slots)))
        self.usual: list[float] = [float(ticks) for ticks in self.ticks]
        self.rejected: float = float(scenario.signals.rejected)
        self.chatter: float = float(scenario.logs.per_signal)
        self.sources: list[tuple[str, bool]] = [
            (source, source == EMAIL) for source in scenario.signals.sources
        ]

    def enter(self, hour: Hour) -> None:
        """Begin an hour: its volatility holds for what the desk does, and averages move on."""
        self.hour = hour
        self.variance = hour.variance
        self.spread_out = sqrt(hour.variance)
        self.usual = [
            usual + 0.12 * (price - usual) for usual, price in zip(self.usual, self.ticks, strict=True)
        ]

    def signal(self, now: int) -> None:
        """Deal with one alert: write it down, and send the order that it asks for, if any."""
        draw = self.draw
        number = self.number
        if number == self.signals:
            # The last burst is a smaller one.
            return
        self.number = number + 1
        tail = f"{number ^ self.mask:012x}"
        ends = f"{self.signal_kind}{tail}"
        head = f"{now:08x}"
        signal_id = head + ends
        # One draw decides several things by its digits, of which it has many more than are needed.
        place = draw() * self.slot_count
        which = int(place)
        slot = self.slots[which]
        if slot.waiting:
            # A strategy whose order rests seldom speaks again before it is filled.
            slot = self.slots[int(draw() * self.slot_count)]
        source, mailed = self.sources[int((place - which) * self.source_count)]
        chance = draw()
        rejected = chance < self.rejected
        if rejected:
            chance /= self.rejected
            if chance < 0.35 and slot.last is not None:
                self._repeat(slot, slot.last, signal_id, now, head, tail)
                return
        account, market, contract = slot.account, slot.market, slot.contract
        ticks = self.ticks[market]
        # Within a step the price wobbles a little, so that no two alerts see quite the same.
        ticks += int(ticks * self.reaches[market] * self.spread_out * (draw() - 0.5))
        position = account.positions[market]
        if position is None:
            if not slot.waiting or not slot.lots:
                place = draw() * self.style_count
                which = int(place)
                style, slot.places = slot.strategies[which]
                self.planner.open(slot, style, ticks * contract.value, now, self.variance, place - which)
                slot.side = self.planner.side(
                    slot, style, ticks, self.ahead, self.usual[market], draw(), draw()
                )
            side, opens = slot.side, True
        else:
            side = position.side
            opens = slot.entries > 0 and not slot.reached and now < slot.deadline and draw() < 0.85
        varied = draw()
        left = True
        if opens:
            lots = int(slot.lots * (0.7 + 0.6 * varied)) or 1
        else:
            lots = position.lots if position is not None else 0
            if 1 < slot.exits < lots:
                lots //= slot.exits
            else:
                left = False
        quantity_text = contract.quantities[lots][1]
        place = draw() * len(slot.places)
        which = int(place)
        template = self.templates[slot.places[which]]
        place -= which
        asked = _ASKED[opens, side][place < 0.3]
        numerator, denominator = contract.tick
        price_text = str(ticks * numerator / denominator)
        raised = now - (MAILS[int(draw() * 20)] if mailed else HOOKS[int(draw() * 100)])
        why = -1
        if rejected:
            why = OLD if chance < 0.5 else OVERTAKEN if chance < 0.65 and slot.last is not None else REFUSED
            if why == OLD:
                raised = now - LATE - 1 - int(draw() * draw() * 6_000)
            elif why == OVERTAKEN and slot.last is not None:
                raised = slot.last[0] - 1 - int(draw() * 20)
        elif opens and account.refused > 2 and varied < 0.8:
            why = PAUSED
        if raised < self.first:
            raised = self.first
        clock = self.clocks[raised // 3_600]
        held = _HELD[side] if left else "flat"
        word = _WORDS[opens, side]
        if mailed:
            text = (
                f"{template.mail}{word}\nContracts: {quantity_text}\nPrice: {price_text}\n"
                f"Position: {held}\nTime: {clock}{MINUTES[raised % 3_600]}\n"
            )
        else:
            text = (
                f'{template.web}{word}", "contracts": {quantity_text}, "price": {price_text},'
                f' "market_position": "{held}", "time": "{clock}{MINUTES[raised % 3_600]}"}}'
            )
        symbol = contract.symbol
        self.signal_rows.append((signal_id, raised, symbol, asked, source, text, now))
        slot.last = (raised, asked, source, text)
        about = f'{{"signal_id": "{signal_id}"}}'
        log_rows = self.log_rows
        if why >= 0:
            log_rows.append(
                (
                    f"{head}{self.log_kind}{tail}",
                    now,
                    "WARN",
                    GATEWAY,
                    self._why(why, slot, template, now),
                    about,
                )
            )
        else:
            self.order(slot, opens, side, lots, signal_id, now, tail, ticks, about)
        if self.chatter:
            extra = int(self.chatter + place)
            if extra and not self.messages:
                extra -= 1
                log_rows.append(
                    (
                        f"{head}{self.extra_kinds[0]}{tail}",
                        now,
                        "INFO",
                        GATEWAY,
                        f"{template.name}: {asked} {quantity_text} {symbol} at {price_text} from {source}",
                        about,
                    )
                )
            if extra:
                # Neighbours in the pool: one draw for all of them.
                start = int(draw() * CHATTER)
                for kind, line in zip(
                    self.line_kinds, self.chatter_lines[start : start + extra], strict=False
                ):
                    log_rows.append((f"{head}{kind}{tail}", now, *line))

    def _why(self, why: int, slot: Slot, template: Template, now: int) -> str:
        """What the gateway says about an alert that no order follows."""
        raised = slot.last[0] if slot.last is not None else now
        if why == OLD:
            return f"alert of {template.name} is {now - raised} s old and was dropped"
        if why == OVERTAKEN:
            return (
                f"alert of {template.name} came after a newer one for {slot.contract.symbol} and was dropped"
            )
        if why == PAUSED:
            return (
                f"{template.name} is paused: {slot.account.name} refused its last orders for want of margin"
            )
        return self.pools.rejections[int(self.draw() * len(self.pools.rejections))]

    def _repeat(
        self, slot: Slot, last: tuple[int, str, str, str], signal_id: str, now: int, head: str, tail: str
    ) -> None:
        """Receive an alert a second time, word for word."""
        raised, asked, source, text = last
        symbol = slot.contract.symbol
        self.signal_rows.append((signal_id, raised, symbol, asked, source, text, now))
        self.log_rows.append(
            (
                f"{head}{self.log_kind}{tail}",
                now,
                "WARN",
                GATEWAY,
                f"alert for {symbol} came before, {now - raised} s ago, and was dropped",
                f'{{"signal_id": "{signal_id}"}}',
            )
        )
