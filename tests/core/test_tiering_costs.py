"""The cost model by hand, and the optimum against every path there is."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.costs import (
    access,
    break_even,
    early_leave,
    full_read,
    holding,
    moves_from,
    moving,
    read_in_full,
    reads_of,
)  # fmt: skip
from stratum.core.tiering.optimum import cost_of_path, optimum
from stratum.core.tiering.prices import COLD, HOT, WARM, PriceBook
from tests.core.tiering_cases import BOOK, books


def test_a_day_costs_its_share_of_the_monthly_rent():
    assert holding(BOOK, 2.0) == pytest.approx((0.008, 0.004, 0.0004))


def test_reading_costs_fees_and_waiting():
    slow = msgspec.structs.replace(BOOK, waiting_usd_per_hour=3600.0)
    assert access(BOOK, 3, 2.0) == pytest.approx((0.0, 0.008, 0.040003))
    assert access(slow, 0, 2.0) == pytest.approx((2.0, 2.008, 2.04))  # 1 GB/s, 1 USD a second


def test_a_move_up_pays_retrieval_unless_the_bytes_are_at_hand():
    assert moving(ONE, BOOK, 2.0, COLD, HOT, False) == pytest.approx(0.002 + 0.04 + 1e-6)
    assert moving(ONE, BOOK, 2.0, COLD, HOT, True) == pytest.approx(0.002)
    assert moving(ONE, BOOK, 2.0, HOT, COLD, False) == pytest.approx(1e-5)
    assert moves_from(ONE, BOOK, 2.0, WARM, False) == pytest.approx((0.002 + 0.008, 0.0, 1e-5))


def test_leaving_early_pays_the_rest_of_the_minimum_stay():
    strict = msgspec.structs.replace(
        BOOK, tier=msgspec.structs.replace(BOOK.tier, cold=msgspec.structs.replace(BOOK.tier.cold, minimum_days=30))
    )
    assert early_leave(ONE, strict, 1.0, COLD, 10) == pytest.approx(20 * 0.0002)
    assert early_leave(ONE, strict, 1.0, COLD, 31) == early_leave(ONE, strict, 1.0, HOT, 0) == 0


def test_break_even_is_where_rent_saved_has_paid_one_read_and_both_moves():
    days = break_even(ONE, BOOK, 1.0, WARM, COLD)
    assert days == pytest.approx((0.02 + 1e-6 - 0.004 + 0.001 + 1e-5) / 0.0018)
    stayed = days * holding(BOOK, 1.0)[WARM] + full_read(BOOK, 1.0)[WARM]
    left = days * holding(BOOK, 1.0)[COLD] + full_read(BOOK, 1.0)[COLD] + 0.001 + 1e-5
    assert stayed == pytest.approx(left)
    assert break_even(ONE, BOOK, 1.0, COLD, WARM) == float("inf")  # not cheaper to hold


def test_bytes_count_as_whole_reads_and_at_least_one():
    assert [reads_of(100, sent) for sent in (0, 49, 149, 150, 260)] == [1, 1, 1, 2, 3]
    assert reads_of(0, 0) == 1
    assert read_in_full(1.0, 0.99) and not read_in_full(1.0, 0.98)


@pytest.mark.parametrize(
    "change",
    [{"gb_bytes": 2**30}, {"month_days": 0}, {"tier": {"hot": {"storage_usd_per_gb_month": -1}}}],
    ids=["binary gigabytes", "no month", "negative rent"],
)
def test_a_book_that_makes_no_sense_is_refused(change):
    tiers = {name: {"storage_usd_per_gb_month": 1.0} for name in ("hot", "warm", "cold")}
    document = {"name": "x", "tier": tiers} | {key: value for key, value in change.items() if key != "tier"}
    tiers |= change.get("tier", {})
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, PriceBook)


days = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.3, 1.0, 2.0])), min_size=1, max_size=5)


@given(books, days, st.integers(0, 2))
def test_the_optimum_is_the_cheapest_of_all_paths(book, history, start):
    history = [(reads, gb if reads else 0.0) for reads, gb in history]
    paths = product(range(3), repeat=len(history) - 1)
    cheapest = min(cost_of_path(book, 1.0, history, (start, *path)) for path in paths)
    assert optimum(book, 1.0, history, start) == pytest.approx(cheapest, rel=1e-9, abs=1e-12)
