"""Price books: what a tier costs to hold, to read from, to wait for, and to move into.

Room: stratum/core. May import: nothing of ours. Reading the TOML file is serve's.

Money is in the book's currency, sizes are in GB of 1e9 bytes, time is in days. The keys are those of the TOML file.
"""

from functools import cached_property

import msgspec

TIERS = ("hot", "warm", "cold")  # order: hotter first; a tier is known by its index everywhere in this package
HOT, WARM, COLD = range(3)
GB = 1e9  # bytes


class TierPrice(msgspec.Struct, frozen=True, kw_only=True):
    """One tier of a book. Raises msgspec.ValidationError on decoding if a price is negative."""

    storage_usd_per_gb_month: float = msgspec.field()
    retrieval_usd_per_gb: float = 0.0  # per GB read by clients, and per GB moved up out of this tier
    request_usd: float = 0.0  # per read, and per object moved up out of this tier
    write_usd_per_gb: float = 0.0  # per GB moved into this tier
    move_in_usd_per_object: float = 0.0
    first_byte_ms: float = 0.0
    bandwidth_gb_per_s: float = 1.0
    minimum_days: float = 0.0  # leaving earlier pays rent for the missing days


class ThreeTiers(msgspec.Struct, frozen=True):
    """A price for each tier."""

    hot: TierPrice
    warm: TierPrice
    cold: TierPrice


class PriceBook(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A dated list of prices for three tiers."""

    name: str
    tier: ThreeTiers
    date: str = ""
    currency: str = "USD"
    gb_bytes: float = GB
    month_days: float = 30.4375  # 365.25 / 12
    waiting_usd_per_hour: float = 1.0  # somebody waits for first bytes and for transfer

    def __post_init__(self) -> None:
        """Refuse what no price can be. Raises ValueError (ValidationError while decoding)."""
        if self.gb_bytes != GB:
            raise ValueError("gb_bytes must be 1e9: one unit everywhere")
        if self.month_days <= 0 or self.waiting_usd_per_hour < 0:
            raise ValueError("month_days must be above 0 and waiting_usd_per_hour not below 0")
        for name, tier in zip(TIERS, self.tiers, strict=True):
            if min(msgspec.structs.astuple(tier)) < 0 or tier.bandwidth_gb_per_s <= 0:
                raise ValueError(f"tier {name}: a price is below 0, or the bandwidth is not above 0")

    @property
    def tiers(self) -> tuple[TierPrice, TierPrice, TierPrice]:
        """The three tiers, hot first."""
        return self.tier.hot, self.tier.warm, self.tier.cold

    @cached_property
    def rent(self) -> tuple[float, ...]:
        """Per GB and day, per tier."""
        return tuple(t.storage_usd_per_gb_month / self.month_days for t in self.tiers)

    @cached_property
    def waiting(self) -> float:
        """Per second."""
        return self.waiting_usd_per_hour / 3600

    @cached_property
    def per_read(self) -> tuple[float, ...]:
        """The part of a read that does not depend on its size, per tier."""
        return tuple(t.request_usd + self.waiting * (t.first_byte_ms / 1000) for t in self.tiers)

    @cached_property
    def per_gb(self) -> tuple[float, ...]:
        """The part of a read that grows with its bytes, per GB and tier."""
        return tuple(t.retrieval_usd_per_gb + self.waiting / t.bandwidth_gb_per_s for t in self.tiers)
