"""What a week cost and could have cost; budgets; the price of room; the length of a day."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.books import ABSENT_RENT, BOOKS, OWN, only, there
from stratum.core.tiering.budgets import Budgets
from stratum.core.tiering.capacity import FULL, MOST, pressed, shadow
from stratum.core.tiering.costs import moving
from stratum.core.tiering.days import DAY_SECONDS, UTC_DAYS, Days, continued
from stratum.core.tiering.ledger import account, forty_eight
from stratum.core.tiering.optimum import cost_of_path
from stratum.core.tiering.prices import TIERS
from stratum.core.tiering.settings import Tiering
from tests.core.tiering_cases import BOOK

ALL = (True, True, True)
days = st.lists(st.sampled_from([(0.0, 0.0), (1.0, 1.0), (3.0, 2.5), (1.0, 0.1)]), min_size=1, max_size=10)


@given(days, st.data())
def test_the_account_of_a_path_is_what_the_rule_of_costs_says_and_never_below_the_optimum(history, data):
    path = data.draw(st.lists(st.integers(0, 2), min_size=len(history), max_size=len(history)))
    found = account(BOOK, 1.0, history, path, 0, ALL)
    assert found.rent + found.reading + found.moving == pytest.approx(cost_of_path(BOOK, 1.0, history, path))
    for cost in (found.rent + found.reading + found.moving, found.forty_eight, found.do_nothing):
        assert found.optimum <= cost * (1 + 1e-9)
    assert found.moves == sum(one != other for one, other in pairwise(path))
    assert found.reads == sum(visits for visits, _ in history) >= found.cold_reads


@given(days, st.integers(0, 2), st.sampled_from([(0.0, 0.0), (1.0, 1.0), (1.0, 0.1)]), st.data())
def test_the_night_before_the_first_day_is_paid_for_and_the_optimum_could_have_used_it(history, before, eve, data):
    path = data.draw(st.lists(st.integers(0, 2), min_size=len(history), max_size=len(history)))
    found = account(BOOK, 1.0, history, path, 0, ALL, before, eve)
    moved = moving(ONE, BOOK, 1.0, before, path[0], eve[1] == 1.0)
    assert found.rent + found.reading + found.moving == pytest.approx(moved + cost_of_path(BOOK, 1.0, history, path))
    for cost in (found.rent + found.reading + found.moving, found.forty_eight, found.do_nothing):
        assert found.optimum <= cost * (1 + 1e-9)
    assert found.moves == sum(one != other for one, other in pairwise([before, *path]))


def test_the_rule_that_everybody_starts_with_is_hot_when_read_and_cold_after_four_days():
    read, idle = (1.0, 1.0), (0.0, 0.0)
    assert forty_eight([read, *[idle] * 6], 2, 9, ALL) == [2, 0, 0, 1, 1, 2, 2]
    assert forty_eight([read, *[idle] * 6], 2, 9, (True, False, True)) == [2, 0, 0, 0, 0, 2, 2]
    assert forty_eight([idle] * 3, 0, 9, (True, True, False)) == [0, 0, 0]


@given(st.floats(0.001, 10), st.lists(st.tuples(st.floats(0.001, 3), st.floats(0, 5)), max_size=60))
def test_no_more_goes_than_flows_in_and_one_bucket_of_debt(per_hour, asked):
    budgets, hour, gone = Budgets(Tiering(gb_per_hour=per_hour)), 1.0, 0.0
    budgets.short_of(hour, 0.0, 0.0)
    for gb, later in asked:
        hour += later
        if not budgets.short_of(hour, gb, 0.0):
            budgets.take(gb, 0.0)
            gone += gb
    largest = max((gb for gb, _ in asked), default=0.0)
    assert gone <= per_hour * (hour - 1.0) + max(per_hour, largest) + 1e-6
    assert Budgets(Tiering()).short_of(hour, 1e9, 1e9) == "" and Budgets(Tiering()).left(hour) == {}


@given(st.floats(0, 1), st.floats(0, 60), st.floats(0.1, 30))
def test_room_gets_dearer_above_full_and_cheaper_below_roomy(taken, pressure, passed):
    later = pressed(pressure, taken, passed)
    if taken > FULL:
        assert later >= min(pressure, MOST)
    elif taken < 0.7:
        assert later <= pressure
    else:
        assert later == pressure
    assert shadow(later, taken, 0.01) >= 0.0 and shadow(0.0, -1.0, 0.01) == 0.0


def test_a_tier_that_does_not_exist_is_out_of_reach():
    book = only(OWN, frozenset({"hot", "cold"}))
    assert there(book) == ("hot", "cold") and there(OWN) == TIERS
    assert book.tier.warm.storage_usd_per_gb_month == ABSENT_RENT and book.tier.cold == OWN.tier.cold
    assert all(name == each.name for name, each in BOOKS.items())


def test_days_are_utc_days_unless_they_are_told_to_be_shorter():
    now = 1_700_000_000 * 10**9
    assert UTC_DAYS.at(now) == (19675, 1333)
    short = continued(None, 0, 2.0, now)
    assert short.at(now) == (19675, 0) and short.at(now + 5 * 10**9) == (19677, 720)
    assert short.begins(19677) == now + 4 * 10**9 and short.hours(10**9) == 12.0
    assert continued(short, 19700, 2.0, now) is short
    again = continued(short, 19700, float(DAY_SECONDS), now)
    assert again.at(now)[0] == 19701, "days never count backwards"
    assert continued(None, 0, float(DAY_SECONDS), now) == Days() == UTC_DAYS
