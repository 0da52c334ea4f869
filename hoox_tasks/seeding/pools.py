"""The words of a made-up ledger: drawn from Faker once, then used again and again.

Calling Faker for each cell would cost ten times all the rest. Nothing here carries meaning: ids, times,
prices and amounts never come from Faker, because another release of it may draw other words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

ALERTS = 64
CHATTER = 96
"""How many texts there are to choose from."""

_PROVIDERS = ("internet", "lorem", "misc", "person", "user_agent")


@dataclass(frozen=True, slots=True)
class Pools:
    """Texts to choose from, ready to be stored.

    `alerts` are the source of a signal, and its raw text in three pieces, with the symbol and the wanted
    action to go between them. `chatter` is the level, service, message and details of log lines.
    """

    alerts: tuple[tuple[str, str, str, str], ...]
    errors: tuple[str, ...]
    rejections: tuple[str, ...]
    chatter: tuple[tuple[str, str, str, str | None], ...]


@lru_cache(maxsize=8)
def draw_pools(
    seed: int, sources: tuple[str, ...], errors: tuple[str, ...], messages: tuple[str, ...]
) -> Pools:
    """Draw the words for one seed.

    `sources` are where signals come from; `errors` and `messages`, where there are any, take the place
    of the made-up ones.
    """
    from faker import Factory

    from hoox_tasks.seeding.provider import TradeProvider

    # Any: what a provider adds, no type of Faker's knows.
    fake: Any = Factory.create("en_US", providers=[f"faker.providers.{name}" for name in _PROVIDERS])
    fake.add_provider(TradeProvider)
    fake.seed_instance(seed)

    def alert(source: str) -> tuple[str, str, str, str]:
        if source == "Email":
            return source, f"From: {fake.name()} <{fake.ascii_safe_email()}>\nSymbol: ", "\nAction: ", "\n"
        known = json.dumps({"strategy": fake.strategy(), "user_agent": fake.chrome()})
        return source, f'{known[:-1]}, "ticker": "', '", "action": "', '"}'

    logs = [fake.system_log() for _ in range(CHATTER)]
    return Pools(
        alerts=tuple(alert(sources[number % len(sources)]) for number in range(ALERTS)),
        errors=errors or tuple(fake.order_error() for _ in range(24)),
        rejections=tuple(fake.rejection() for _ in range(24)),
        chatter=tuple(
            (
                log["level"],
                log["service"],
                messages[number % len(messages)] if messages else log["message"],
                log["details"],
            )
            for number, log in enumerate(logs)
        ),
    )
