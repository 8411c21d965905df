"""Price books, situations and histories for the tests of tiering."""

from hypothesis import strategies as st
from msgspec.structs import replace

from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.costs import overnight, read_in_full
from stratum.core.tiering.evidence import after, at_night, first
from stratum.core.tiering.groups import GroupEvidence
from stratum.core.tiering.policy import Policy, exposures
from stratum.core.tiering.prices import PriceBook, ThreeTiers, TierPrice
from stratum.core.tiering.situation import NO_WISHES, Situation, on_evening

# Made up, round: rent falls by half from tier to tier, reading gets dearer.
BOOK = PriceBook(
    name="round",
    month_days=30.0,
    waiting_usd_per_hour=0.0,
    tier=ThreeTiers(
        hot=TierPrice(storage_usd_per_gb_month=0.12, write_usd_per_gb=0.001),
        warm=TierPrice(storage_usd_per_gb_month=0.06, retrieval_usd_per_gb=0.004, write_usd_per_gb=0.001),
        cold=TierPrice(
            storage_usd_per_gb_month=0.006, retrieval_usd_per_gb=0.02, request_usd=1e-6, move_in_usd_per_object=1e-5
        ),
    ),
)  # fmt: skip
PLAIN = Policy(bound=0.0)  # without the guard, so that one constraint acts alone

prices = st.floats(0, 1, allow_subnormal=False)
tier_prices = st.builds(
    TierPrice,
    storage_usd_per_gb_month=prices, retrieval_usd_per_gb=prices, request_usd=st.floats(0, 1e-4),
    write_usd_per_gb=st.floats(0, 0.01), move_in_usd_per_object=st.floats(0, 1e-4),
    first_byte_ms=st.floats(0, 500), bandwidth_gb_per_s=st.floats(0.01, 10),
)  # fmt: skip
books = st.builds(
    PriceBook, name=st.just("any"), tier=st.builds(ThreeTiers, tier_prices, tier_prices, tier_prices),
    waiting_usd_per_hour=st.floats(0, 5),
)  # fmt: skip


@st.composite
def situations(draw):
    """Any evening of any unit whose numbers can occur together."""
    age = draw(st.integers(1, 400))
    exposure = exposures(Policy().half_life_days)[age]
    reads = draw(st.floats(0, 1)) * exposure
    best = draw(st.floats(1e-6, 10))
    tier = draw(st.integers(0, 2))
    limits = sorted(draw(st.tuples(st.integers(0, 2), st.integers(0, 2))))
    return Situation(
        gb=draw(st.floats(1e-7, 1000)), tier=tier, start=draw(st.integers(0, 2)), age=age,
        resident=draw(st.one_of(st.just(1_000_000), st.integers(0, age))), idle=draw(st.integers(0, age)),
        came_from=draw(st.sampled_from([t for t in (0, 1, 2, 3) if t != tier])), since=draw(st.integers(0, 20)),
        reads=reads, gb_per_size=reads * draw(st.floats(1, 20)), visits=reads * draw(st.floats(1, 50)),
        exposure=exposure, group_rate=draw(st.floats(0, 1)), sweep_rate=draw(st.floats(0, 0.2)),
        at_hand=draw(st.booleans()), spike=draw(st.booleans()), today_visits=draw(st.floats(0, 30)),
        today_gb=draw(st.floats(0, 100)), hint=draw(st.sampled_from([0.1, 1.0, 10.0])),
        hottest=limits[0], coldest=limits[1], interest=draw(st.integers(0, 20)), written=draw(st.integers(0, 5)),
        shadow=(draw(st.floats(0, 0.1)), 0.0, 0.0), spent=best * draw(st.floats(1, 5)),
        values=tuple(best * draw(st.floats(1, 3)) for _ in range(3)),
    )  # fmt: skip


def lived(days, *, gb=1.0, tier=1, book=BOOK, policy=PLAIN, group=None, wishes=NO_WISHES, spike=False, **changes):
    """The situation of a unit in `tier` on the evening after a list of (visits, GB), and the evidence behind it."""
    evidence = first(20_000, tier=tier)
    for reads, gb_read in days[:-1]:
        evidence = after(evidence, gb, reads, gb_read, book, policy)
        evidence = at_night(evidence, gb, gb_read, book, tier, 0.0)
    evidence = after(evidence, gb, *days[-1], book, policy)
    at_hand = read_in_full(gb, days[-1][1])
    values = overnight(ONE, book, gb, evidence.values, at_hand)
    evidence = replace(evidence, **changes)
    return on_evening(
        evidence, gb, group or GroupEvidence(), policy, values=values, wishes=wishes,
        today=days[-1], at_hand=at_hand, spike=spike,
    )  # fmt: skip
