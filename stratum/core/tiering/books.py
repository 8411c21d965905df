"""Price books that come with the product, for who has no figures of their own yet.

Room: stratum/core. May import: core.tiering.prices.

Figures of 2026-11, in USD; docs/operator.md says how to write one's own. They stand for a kind of installation, not for
an offer: what matters is their proportion.
"""

from stratum.core.tiering.prices import TIERS, PriceBook, ThreeTiers, TierPrice

ABSENT_RENT = 1e6  # per GB and month, of a tier that does not exist: nothing is ever wished there

_REMOTE = TierPrice(
    storage_usd_per_gb_month=0.006,
    retrieval_usd_per_gb=0.01,
    request_usd=4e-7,
    move_in_usd_per_object=1e-6,
    first_byte_ms=150.0,
    bandwidth_gb_per_s=0.1,
)


def _local(rent: float, write: float, first_byte_ms: float, bandwidth: float) -> TierPrice:
    return TierPrice(
        storage_usd_per_gb_month=rent,
        write_usd_per_gb=write,
        move_in_usd_per_object=1e-7,
        first_byte_ms=first_byte_ms,
        bandwidth_gb_per_s=bandwidth,
    )


OWN = PriceBook(  # bought SSDs and HDDs with power, redundancy and replacement over five years; a remote bucket
    name="own",
    date="2026-11-20",
    tier=ThreeTiers(hot=_local(0.012, 0.0002, 1.0, 1.0), warm=_local(0.004, 0.0001, 12.0, 0.2), cold=_REMOTE),
)
RENTED = PriceBook(  # block storage of a rented server: SSD and HDD volumes; a remote bucket
    name="rented",
    date="2026-11-20",
    tier=ThreeTiers(hot=_local(0.08, 0.0002, 1.0, 1.0), warm=_local(0.045, 0.0002, 12.0, 0.2), cold=_REMOTE),
)
BOOKS = {"own": OWN, "rented": RENTED}


def only(book: PriceBook, there: frozenset[str]) -> PriceBook:
    """The book of a store that has only these tiers: the others cost more than anything, and read like the worst."""
    if there >= {"hot", "warm", "cold"}:
        return book
    real = [price for name, price in zip(TIERS, book.tiers, strict=True) if name in there]
    far = TierPrice(
        storage_usd_per_gb_month=ABSENT_RENT,
        retrieval_usd_per_gb=max(price.retrieval_usd_per_gb for price in real),
        request_usd=max(price.request_usd for price in real),
        first_byte_ms=max(price.first_byte_ms for price in real),
        bandwidth_gb_per_s=min(price.bandwidth_gb_per_s for price in real),
    )
    return PriceBook(
        name=book.name,
        tier=ThreeTiers(
            hot=book.tier.hot,
            warm=book.tier.warm if "warm" in there else far,
            cold=book.tier.cold if "cold" in there else far,
        ),
        date=book.date,
        currency=book.currency,
        gb_bytes=book.gb_bytes,
        month_days=book.month_days,
        waiting_usd_per_hour=book.waiting_usd_per_hour,
    )


def there(book: PriceBook) -> tuple[str, ...]:
    """The tiers of a book that exist (see `only`)."""
    priced = zip(TIERS, book.tiers, strict=True)
    return tuple(tier for tier, price in priced if price.storage_usd_per_gb_month < ABSENT_RENT)
