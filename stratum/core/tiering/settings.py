"""What an operator says about deciding: the table [tiering] of the settings, and a bucket's own words.

Room: stratum/core. May import: core.tiering.{books, policy, prices, situation}.
"""

from dataclasses import dataclass, field

import msgspec

from stratum.core.tiering.books import OWN
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS, PriceBook

AUTO, OBSERVE, OFF = "auto", "observe", "off"
MODES = (AUTO, OBSERVE, OFF)
KIND = "tiering"  # of the configuration of a bucket (schema f)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiering:
    """`[tiering]`. `auto`: decide and move; `observe`: decide, explain, move nothing; `off`: not even look."""

    mode: str = AUTO
    prices: PriceBook = OWN
    policy: Policy = field(default_factory=Policy)
    gb_per_hour: float = 0.0  # that may be moved; 0: no bound. As all below: of days of `day_seconds`
    requests_per_hour: float = 0.0  # moves begun
    money_per_day: float = 0.0  # that moves may cost
    backup_credentials: tuple[str, ...] = ()  # access keys, user names or ids: what they read is a sweep
    day_seconds: float = 86_400.0  # less for tests and staging only
    check_interval: float = 30.0  # seconds, real ones, between two looks at the clock


class BucketTiering(msgspec.Struct, frozen=True, array_like=True):
    """What a bucket says: `mode` (empty: as the store), `pin`, `no_cold`, `max_latency_ms` (0: any)."""

    mode: str = ""
    pin: str = ""
    no_cold: bool = False
    max_latency_ms: float = 0.0

    def __post_init__(self) -> None:
        """Refuse words that mean nothing. Raises ValueError."""
        if self.mode not in ("", *MODES):
            raise ValueError(f"mode {self.mode!r} is not one of {', '.join(MODES)}")
        if self.pin and self.pin not in TIERS:
            raise ValueError(f"pin {self.pin!r} is not one of {', '.join(TIERS)}")
        if self.max_latency_ms < 0:
            raise ValueError("max_latency_ms is below 0")


NOTHING_SAID = BucketTiering()
