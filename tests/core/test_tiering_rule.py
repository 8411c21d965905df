"""The rule: what each part of it does, seen to act; and what holds for every situation."""

import struct

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stratum.core.tiering import evidence as evidence_module
from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.decide import decide
from stratum.core.tiering.evidence import PACKED_BYTES, Evidence, after, first, packed, settled, unpacked
from stratum.core.tiering.groups import GroupDay, GroupEvidence, is_sweep, rate_of, sweep_rate_of
from stratum.core.tiering.groups import after as group_after
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import COLD, HOT, WARM
from stratum.core.tiering.rule import REASONS, outcome
from stratum.core.tiering.situation import Wishes
from stratum.core.tiering.spikes import poisson_tail, spiking
from tests.core.tiering_cases import BOOK, PLAIN, books, lived, situations

IDLE, READ = (0, 0.0), (1, 1.0)
QUIET = GroupEvidence(read=0.0, exposure=200.0)  # a group that nobody reads: about 0.008 reads a day
BUSY = GroupEvidence(read=120.0, exposure=140.0)


def decided(situation, policy=PLAIN, book=BOOK):
    found = outcome(ONE, situation, book, policy)
    return ("hot", "warm", "cold")[found.tier], REASONS[found.reason]


def test_what_nobody_reads_goes_cold_and_what_is_read_daily_goes_hot():
    assert decided(lived([IDLE] * 40, group=QUIET)) == ("cold", "PRIOR_ONLY")
    assert decided(lived([READ] * 2 + [IDLE] * 60, group=QUIET)) == ("cold", "IDLE_PAST_BREAKEVEN")
    assert decided(lived([READ] * 150, group=QUIET)) == ("hot", "RATE_UP")
    assert decided(lived([READ, IDLE] * 20, group=QUIET)) == ("warm", "CHEAPEST")


def test_a_group_speaks_for_members_that_have_no_history():
    assert decided(lived([IDLE], group=QUIET))[0] == "cold"
    assert decided(lived([IDLE], tier=COLD, group=BUSY))[0] == "hot"


def test_a_pin_is_an_order_also_where_it_is_dear():
    assert decided(lived([READ] * 40, wishes=Wishes(pin="cold"))) == ("cold", "PIN")
    assert decided(lived([IDLE] * 40, group=QUIET, wishes=Wishes(pin="warm"))) == ("warm", "PIN")


def test_no_cold_keeps_the_cheapest_of_the_others():
    assert decided(lived([IDLE] * 40, group=QUIET, wishes=Wishes(coldest="warm")))[0] == "warm"
    assert decided(lived([IDLE] * 40, tier=COLD, group=QUIET, wishes=Wishes(coldest="warm"))) == ("warm", "PIN")


def test_a_hint_scales_what_the_group_says_and_wears_off():
    group = GroupEvidence(read=30.0, exposure=100.0)
    assert decided(lived([IDLE] * 3, group=group))[0] == "warm"
    hot = Wishes(hint="hot", hinted=20_000)
    assert decided(lived([IDLE] * 3, group=group, wishes=hot))[0] == "hot"
    assert decided(lived([IDLE] * 9, group=group, wishes=hot))[0] == "warm"
    situation = lived([IDLE] * 3, group=group, wishes=Wishes(hint="cold"))
    assert decided(situation)[0] == "cold"
    assert decide(situation, BOOK, PLAIN).also_by == ("HINT",)


def test_words_that_mean_nothing_are_refused():
    for wrong in ({"hint": "tepid"}, {"pin": "lava"}, {"coldest": "hot", "hottest": "cold"}):
        with pytest.raises(ValueError, match=r"tier|hint"):
            Wishes(**wrong)


def test_a_spike_promotes_at_once_when_it_has_paid_the_move():
    burst = [IDLE] * 60 + [(20, 20.0)]
    assert decided(lived(burst, tier=COLD, group=QUIET))[0] == "cold"
    assert decided(lived(burst, tier=COLD, group=QUIET, spike=True)) == ("hot", "SPIKE")
    small = [IDLE] * 60 + [(3, 0.003)]
    assert decided(lived(small, tier=COLD, group=QUIET, spike=True))[0] == "cold"


def test_a_spike_is_many_visits_far_above_the_usual_and_not_by_chance():
    assert spiking(visits=8, usual=0.01, swept=False, policy=Policy())
    assert not spiking(visits=2, usual=0.0001, swept=False, policy=Policy())  # too few
    assert not spiking(visits=8, usual=10.0, swept=False, policy=Policy())  # not ten times as many
    assert not spiking(visits=3, usual=0.2, swept=False, policy=Policy())  # could be chance
    assert not spiking(visits=8, usual=0.01, swept=True, policy=Policy())
    assert poisson_tail(1, 0.5) == pytest.approx(1 - 0.6065306597126334)
    assert poisson_tail(0, 0.5) == 1


def test_tiny_objects_stay_where_they_are():
    days = [IDLE] * 40
    assert decided(lived(days, gb=6e-5, group=QUIET)) == ("warm", "SMALL")  # the fee of the move is what holds it
    free = replace(BOOK, tier=replace(BOOK.tier, cold=replace(BOOK.tier.cold, move_in_usd_per_object=0.0)))
    assert decided(lived(days, gb=6e-5, group=QUIET), book=free)[0] == "cold"
    assert decided(lived(days, gb=5e-4, group=QUIET))[0] == "cold"
    assert decided(lived(days, gb=5e-4, group=QUIET), replace(PLAIN, floor_days=1.0)) == ("warm", "SMALL")


def test_minimum_residence_holds_what_went_up_a_short_while_ago():
    days = [IDLE] * 30
    up = {"came_from": COLD, "moved": 20_000 + 28}
    assert decided(lived(days, group=QUIET, **up)) == ("warm", "RESIDENCE")
    assert decided(lived(days, group=QUIET, came_from=COLD, moved=20_000))[0] == "cold"


def test_a_move_is_not_undone_before_two_days_of_reads():
    days = [READ] * 150
    down = {"came_from": HOT, "moved": 20_000 + 148, "since": 1}
    assert decided(lived(days, group=QUIET, **down)) == ("warm", "FLIP_FLOP")
    assert decided(lived(days, group=QUIET, **(down | {"since": 2})))[0] == "hot"


def test_warming_up_lasts_a_share_of_the_break_even_time():
    slow = replace(PLAIN, warm_up_share=0.5)
    assert decided(lived([IDLE] * 2, group=QUIET), slow) == ("warm", "WARM_UP")
    assert decided(lived([IDLE] * 7, group=QUIET), slow)[0] == "cold"


def test_looking_keeps_out_of_cold_for_a_week_and_never_promotes():
    days = [IDLE] * 40
    assert decided(lived(days, group=QUIET, interest=20_000 + 36)) == ("warm", "INTEREST")
    assert decided(lived(days, group=QUIET, interest=20_000 + 30))[0] == "cold"
    assert decided(lived(days, tier=COLD, group=QUIET, interest=20_000 + 39))[0] == "cold"


def test_what_was_just_written_does_not_go_cold():
    days = [IDLE] * 40
    assert decided(lived(days, group=QUIET, written=20_000 + 39)) == ("warm", "JUST_WRITTEN")
    assert decided(lived(days, group=QUIET, written=20_000 + 38))[0] == "cold"


def test_a_tier_that_runs_full_gets_dearer():
    situation = replace(lived([READ, IDLE] * 20, group=QUIET), shadow=(0.0, 0.05, 0.0))
    assert decided(situation)[0] == "hot"
    assert decide(situation, BOOK, PLAIN).also_by == ("CAPACITY",)


def test_sweeps_are_priced_for_all_and_credited_to_none_if_so_set():
    policy = replace(PLAIN, sweep_credit=0.0)
    swept = GroupDay(gb=100.0, gb_read=90.0, members=100, touched=90)
    assert is_sweep(swept, policy)
    assert not is_sweep(GroupDay(gb=100.0, gb_read=5.0, members=100, touched=5), policy)
    assert not is_sweep(GroupDay(gb=2.0, gb_read=2.0, members=2, touched=2), policy)  # too few to be one
    group = group_after(GroupEvidence(), swept, policy)
    assert sweep_rate_of(group, policy) > 0 and rate_of(group, policy) < policy.prior_rate
    counted = after(first(1, tier=1), 1.0, 1, 1.0, BOOK, policy, swept=True)
    assert counted.reads == 0 and counted.last_read == 1
    weekly = GroupEvidence(read=0.0, swept=30.0, exposure=100.0)
    calm = lived([IDLE] * 40, policy=policy, group=replace(weekly, swept=0.0))
    often = lived([IDLE] * 40, policy=policy, group=weekly)
    assert decided(calm, policy)[0] == "cold" and decided(often, policy)[0] == "warm"
    assert decide(often, BOOK, policy).also_by == ("SWEEPS",)


def test_the_guard_keeps_a_wrong_forecast_within_the_bound():
    # The group says "read daily", nobody ever reads: without the guard the unit stays hot for ever.
    days = [IDLE] * 60
    wrong = GroupEvidence(read=400.0, exposure=140.0)
    assert decided(lived(days, tier=HOT, group=wrong))[0] == "hot"
    tier, reason = decided(lived(days, tier=HOT, group=wrong), Policy())
    assert (tier, reason) == ("cold", "BOUND")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(situations(), books, st.floats(0, 2))
def test_more_reads_never_make_it_colder(situation, book, more):
    free = replace(situation, came_from=3, spike=False, written=10**6, interest=10**6)
    policy = replace(PLAIN, floor_days=1e18, warm_up_share=0.0)
    # Where reading gets dearer from tier to tier, as in every sensible book.
    assume(all(book.per_read[t] <= book.per_read[t + 1] and book.per_gb[t] <= book.per_gb[t + 1] for t in (0, 1)))
    before = outcome(ONE, free, book, policy).tier
    assert outcome(ONE, replace(free, group_rate=free.group_rate + more), book, policy).tier <= before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(situations(), books, st.floats(0, 1))
def test_a_dearer_tier_is_never_more_attractive(situation, book, more):
    situation = replace(situation, tier=WARM, hottest=HOT, coldest=COLD, spike=False)
    dearer = replace(situation, shadow=(situation.shadow[0] + more, 0.0, 0.0))
    policy = replace(PLAIN, floor_days=1e18)
    assert outcome(ONE, dearer, book, policy).wish >= outcome(ONE, situation, book, policy).wish


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(situations(), books)
def test_constraints_of_the_user_are_kept_whatever_the_numbers_say(situation, book):
    tier = outcome(ONE, situation, book, Policy()).tier
    if situation.hottest <= situation.tier <= situation.coldest:
        assert situation.hottest <= tier <= situation.coldest
    if situation.hottest == situation.coldest:
        assert tier == situation.hottest


@given(st.data())
def test_evidence_is_small_and_survives_packing(data):
    numbers = st.floats(0, 1e6, width=32)
    day = st.integers(0, 65535)
    evidence = Evidence(
        born=data.draw(day), counted=data.draw(day), last_read=data.draw(day), moved=data.draw(day),
        interest=data.draw(day), written=data.draw(day), minute=data.draw(st.integers(0, 1439)),
        active=data.draw(st.integers(0, 2**32 - 1)), group=data.draw(st.integers(0, 2**32 - 1)),
        tier=data.draw(st.integers(0, 2)), came_from=data.draw(st.integers(0, 3)), start=data.draw(st.integers(0, 2)),
        since=data.draw(st.integers(0, 255)), recent=data.draw(st.floats(0, 60000, width=16)),
        reads=data.draw(numbers), gb_per_size=data.draw(numbers), visits=data.draw(numbers),
        spent=data.draw(numbers), values=tuple(data.draw(numbers) for _ in range(3)),
    )  # fmt: skip
    assert len(packed(evidence)) == PACKED_BYTES <= 64
    assert unpacked(packed(evidence)) == evidence


def test_what_is_no_evidence_is_refused():
    with pytest.raises(struct.error):
        unpacked(b"short")


def test_idle_days_are_made_up_for_as_if_each_had_been_counted():
    one = after(first(100, tier=1), 1.0, 1, 1.0, BOOK, PLAIN)
    daily = one
    for _ in range(9):
        daily = evidence_module.at_night(daily, 1.0, 0.0, BOOK, daily.tier, 0.0)
        daily = after(daily, 1.0, 0, 0.0, BOOK, PLAIN)
    assert settled(one, 1.0, 109, BOOK, PLAIN) == daily
    assert daily.active == 1 << 9
