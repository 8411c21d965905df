"""The bound: no forecast, no history and no day to stop on makes a unit cost more than it says (docs/tiering.md, 7)."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.costs import access, holding, moves_from, overnight, read_in_full, worked
from stratum.core.tiering.evidence import after, at_night, first
from stratum.core.tiering.groups import GroupEvidence
from stratum.core.tiering.guard import additive_of, fallback, shelter, surprise
from stratum.core.tiering.optimum import at_start
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import COLD, HOT, WARM
from stratum.core.tiering.rule import CODE, outcome
from stratum.core.tiering.situation import Situation, on_evening
from tests.core.tiering_cases import BOOK

WAITING = replace(  # local disks and a remote bucket: somebody waits for what is slow
    BOOK, waiting_usd_per_hour=1.0, tier=replace(
        BOOK.tier,
        hot=replace(BOOK.tier.hot, first_byte_ms=1.0),
        warm=replace(BOOK.tier.warm, retrieval_usd_per_gb=0.0, first_byte_ms=10.0, bandwidth_gb_per_s=0.25),
        cold=replace(BOOK.tier.cold, first_byte_ms=100.0, bandwidth_gb_per_s=0.1),
    ),
)  # fmt: skip
FAR = replace(WAITING, tier=replace(WAITING.tier, cold=replace(WAITING.tier.cold, storage_usd_per_gb_month=0.08)))
KINDS = ((0.0, 0.0), (1.0, 1.0), (1.0, 0.02), (1.0, 0.5), (1.0, 0.98))
NEVER_READ, ALWAYS_READ = GroupEvidence(exposure=1e9), GroupEvidence(read=1e9, exposure=1e9)

# What an adversary does: for each tier the unit may be in, days of one kind and then days of another.
habits = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 9), st.sampled_from(KINDS)), min_size=3, max_size=3
)  # fmt: skip
phases = st.lists(
    st.tuples(habits, st.integers(1, 40), st.sampled_from([NEVER_READ, ALWAYS_READ])), min_size=1, max_size=4
)


def fought(book, gb, start, phases, policy):
    """Every day of a fight: cost so far, optimum so far, reason of the evening's decision."""
    evidence, values = first(20_000, tier=start), at_start(gb, start)
    tier, since, cost = start, 0, 0.0
    for habit, days, group in phases:
        for _ in range(days):
            early, lag, late = habit[tier]
            visits, share = early if since < lag else late
            gb_read, at_hand = share * gb, read_in_full(gb, share * gb)
            cost += holding(book, gb)[tier] + access(book, visits, gb_read)[tier]
            values = worked(ONE, book, gb, values, visits, gb_read)
            best, values = min(values), overnight(ONE, book, gb, values, at_hand)
            evidence = after(evidence, gb, visits, gb_read, book, policy)
            night = overnight(ONE, book, gb, evidence.values, at_hand)
            found = outcome(
                ONE, on_evening(evidence, gb, group, policy, values=night, today=(visits, gb_read), at_hand=at_hand),
                book, policy,
            )  # fmt: skip
            yield cost, best, found.reason
            cost += found.moves[found.tier]
            evidence = at_night(evidence, gb, gb_read, book, found.tier, found.moves[found.tier])
            since = since + 1 if found.tier == tier else 0
            tier = found.tier


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([BOOK, WAITING, FAR]), st.sampled_from([0.03, 1.0, 300.0]), st.integers(0, 2), phases)
def test_no_history_and_no_forecast_costs_more_than_three_times_the_optimum_and_what_is_paid_once(
    book, gb, start, phases
):
    policy = Policy()
    once = additive_of(book, gb, start, policy)
    for cost, best, _ in fought(book, gb, start, phases, policy):
        assert cost <= 3.0 * best + once + 1e-12


IDLE = [((0.0, 0.0), 9, (0.0, 0.0))] * 3
MISLED = [(IDLE, 400, ALWAYS_READ)]  # nobody ever reads it, and the forecast says that everybody does


@pytest.mark.parametrize(
    ("guarded", "holds"), [(Policy(), True), (Policy(bound=0.0), False)], ids=["guard", "no guard"]
)
def test_it_is_the_guard_that_keeps_the_bound(guarded, holds):
    once = additive_of(BOOK, 1.0, WARM, Policy())
    days = list(fought(BOOK, 1.0, WARM, MISLED, guarded))
    assert all(cost <= 3.0 * best + once for cost, best, _ in days) == holds
    assert any(reason == CODE["BOUND"] for _, _, reason in days) == holds


def at(values, tier, *, at_hand=False, gb=1.0):
    return Situation(gb=gb, tier=tier, start=tier, age=9, resident=9, idle=9, values=values, at_hand=at_hand)


def gone(situation, book=BOOK):
    moves = moves_from(ONE, book, situation.gb, situation.tier, situation.at_hand)
    return fallback(ONE, situation, book, moves, 3.0)


def test_without_forecast_a_unit_leaves_when_the_optimum_has_nearly_left():
    up, down = 0.021 + 1e-6, 1e-5  # between warm and cold
    assert gone(at((1.0, up * 0.85, 0.0), WARM)) == WARM
    assert gone(at((1.0, up * 0.95, 0.0), WARM)) == COLD
    assert gone(at((1.0, up * 0.2, 0.0), COLD)) == COLD
    assert gone(at((1.0, up * 0.05 - down, 0.0), COLD)) == WARM
    assert gone(at((1.0, up * 0.5, 0.0), COLD, at_hand=True)) == WARM  # the bytes are there


def test_where_waiting_is_dearer_than_fetching_it_goes_where_nothing_costs_three_times_as_much():
    own = replace(WAITING, tier=replace(
        WAITING.tier,
        hot=replace(WAITING.tier.hot, storage_usd_per_gb_month=0.012),
        warm=replace(WAITING.tier.warm, storage_usd_per_gb_month=0.004, first_byte_ms=12.0),
        cold=replace(WAITING.tier.cold, storage_usd_per_gb_month=0.006),
    ))  # fmt: skip
    assert shelter(own) == (HOT, pytest.approx(3.0))
    assert surprise(ONE, own, 1e-5) > 3.0 > surprise(ONE, own, 10.0)
    assert gone(at((0.0, 0.0, 0.0), WARM, gb=1e-5), own) == HOT


def test_a_shelter_in_the_middle_is_left_for_hot_while_reads_pay_and_never_for_cold():
    book = replace(FAR, tier=replace(
        FAR.tier,
        hot=replace(FAR.tier.hot, storage_usd_per_gb_month=0.08),
        warm=replace(FAR.tier.warm, storage_usd_per_gb_month=0.045, first_byte_ms=12.0),
        cold=replace(FAR.tier.cold, storage_usd_per_gb_month=0.006, first_byte_ms=1500.0),
    ))  # fmt: skip
    tier, ratio = shelter(book)
    assert (tier, ratio) == (WARM, pytest.approx(7.5)) and surprise(ONE, book, 1e-5) > ratio
    round_trip = moves_from(ONE, book, 1e-5, HOT, False)[WARM] + moves_from(ONE, book, 1e-5, WARM, False)[HOT]
    up = moves_from(ONE, book, 1e-5, COLD, False)
    for values, went in (
        ((0.0, 0.97 * round_trip, 1.0), HOT),  # reads have shown hot to be worth it
        ((up[HOT], up[WARM], 0.0), WARM),  # idle: cold would be cheaper, and is not trusted
    ):
        assert {gone(at(values, here, gb=1e-5), book) for here in (WARM, COLD)} == {went}
        assert gone(at(values, HOT, gb=1e-5), book) == went
