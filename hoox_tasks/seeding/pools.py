"""The words of a made-up ledger that carry no meaning: drawn from Faker once, then used again and again.

Calling Faker for each cell would cost ten times all the rest. Ids, times, prices, amounts and the names of
strategies never come from Faker, because another release of it may draw other words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks.seeding import provider

CHATTER = 96
"""How many lines there are to choose from."""

_PROVIDERS = ("internet", "misc", "person")


@dataclass(frozen=True, slots=True)
class Pools:
    """Texts to choose from, ready to be stored.

    `chatter` is the level, service, message and details of log lines; `rejections` say why an alert was not
    wanted.
    """

    rejections: tuple[str, ...]
    chatter: tuple[tuple[str, str, str, str | None], ...]


@lru_cache(maxsize=8)
def draw_pools(seed: int, messages: tuple[str, ...]) -> Pools:
    """Draw the words for one seed; `messages`, where there are any, take the place of the made-up ones."""
    from faker import Factory

    # Any: what a provider adds, no type of Faker's knows.
    fake: Any = Factory.create("en_US", providers=[f"faker.providers.{name}" for name in _PROVIDERS])
    fake.add_provider(provider.TradeProvider)
    fake.seed_instance(seed)
    logs = [fake.system_log() for _ in range(CHATTER)]
    return Pools(
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
