"""The words of a made-up ledger: drawn from Faker once, then used again and again.

Calling Faker for each cell would cost ten times all the rest. Nothing here carries meaning: ids, times,
prices and amounts never come from Faker, because another release of it may draw other words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

_PROVIDERS = ("internet", "lorem", "misc", "person", "user_agent")


@dataclass(frozen=True, slots=True)
class Pools:
    """Texts to choose from, ready to be stored.

    `alerts` are the beginnings of a TradingView alert's JSON, open for the market's own keys; `mails`
    the first lines of an email; `chatter` the level, service, message and details of log lines.
    """

    alerts: tuple[str, ...]
    mails: tuple[str, ...]
    errors: tuple[str, ...]
    rejections: tuple[str, ...]
    chatter: tuple[tuple[str, str, str, str | None], ...]


@lru_cache(maxsize=8)
def draw_pools(seed: int) -> Pools:
    """Draw the words for one seed."""
    from faker import Factory

    from hoox_tasks.seeding.provider import TradeProvider

    fake = Factory.create("en_US", providers=[f"faker.providers.{name}" for name in _PROVIDERS])
    fake.add_provider(TradeProvider)
    fake.seed_instance(seed)
    logs = [fake.system_log() for _ in range(96)]
    return Pools(
        alerts=tuple(
            json.dumps({"strategy": fake.strategy(), "user_agent": fake.chrome()})[:-1] + ', "ticker": "'
            for _ in range(32)
        ),
        mails=tuple(f"From: {fake.name()} <{fake.ascii_safe_email()}>" for _ in range(16)),
        errors=tuple(fake.order_error() for _ in range(24)),
        rejections=tuple(fake.rejection() for _ in range(24)),
        chatter=tuple((log["level"], log["service"], log["message"], log["details"]) for log in logs),
    )
