"""What the words of a hint mean, and that they act on the rule."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from stratum.core.patterns import hour_of_week
from stratum.core.tiering.decide import decide
from stratum.core.tiering.evidence import NO_TIER
from stratum.core.tiering.hints import DAYS, NOTHING_HINTED, parsed
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.situation import LONG_AGO, Wishes, hint_factor
from tests.core.tiering_cases import BOOK, PLAIN, books, lived, situations

MONDAY = 20_605  # 2026-06-01


def test_words_may_be_apart_by_spaces_and_commas_and_in_any_case():
    found = parsed("Hot, no-cold  PIN=warm,max-latency=50ms expire=2026-06-01 schedule=mon-fri@08:00+sat@10")
    assert (found.hot, found.no_cold, found.pin, found.max_latency_ms) == (True, True, "warm", 50.0)
    assert found.expires == MONDAY and not found.wrong and len(found.words) == 6
    hours = {hour_of_week(MONDAY + day, 8 * 60) for day in range(5)} | {hour_of_week(MONDAY + 5, 10 * 60)}
    assert found.schedule == hours


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("schedule=08:00", {day * 24 + 8 for day in range(7)}),
        ("schedule=7", {day * 24 + 7 for day in range(7)}),
        ("schedule=sun@23:30", {DAYS.index("sun") * 24 + 23}),
        ("schedule=sat-mon@6", {DAYS.index(day) * 24 + 6 for day in ("sat", "sun", "mon")}),
    ],
)
def test_a_schedule_is_hours_of_the_week(text, hours):
    assert parsed(text).schedule == hours


@given(
    st.text()
    | st.lists(
        st.sampled_from(
            [
                "hot",
                "cold",
                "pin=",
                "pin=lukewarm",
                "expire=2026-13-01",
                "expire=1969-01-01",
                "schedule=25:00",
                "schedule=",
                "schedule=mon-@8",
                "max-latency=0",
                "max-latency=-1",
                "no-cold",
            ]
        )
    ).map(" ".join)
)
def test_what_is_no_hint_is_named_and_changes_nothing(text):
    found = parsed(text)
    assert parsed(" ".join(found.words)) == replace(found, wrong=())
    assert parsed(" ".join(found.wrong)) == (replace(NOTHING_HINTED, wrong=found.wrong))


@given(situations(), books, st.integers(1, 89))
def test_what_ends_soon_is_decided_over_the_days_that_it_has_left(situation, book, days):
    assume(situation.group_rate > 0)
    situation = replace(situation, came_from=NO_TIER)
    soon = decide(replace(situation, remaining=days), book, PLAIN)
    short = decide(situation, book, replace(PLAIN, horizon_days=float(days), floor_days=float(days)))
    assert (soon.tier, soon.reason, soon.hotter_above, soon.colder_below) == (
        short.tier, short.reason, short.hotter_above, short.colder_below,
    )  # fmt: skip
    assert soon.look_again_days <= days


def test_what_is_deleted_tomorrow_is_not_sent_away_at_a_price_and_what_stays_is():
    dear = replace(BOOK.tier.warm, write_usd_per_gb=0.05), replace(BOOK.tier.cold, write_usd_per_gb=0.05)
    book = replace(BOOK, tier=replace(BOOK.tier, warm=dear[0], cold=dear[1]))
    situation = lived([(0, 0.0)] * 40, tier=0, book=book)
    assert decide(situation, book, PLAIN).tier == "cold"
    found = decide(replace(situation, remaining=3), book, PLAIN)
    assert found.tier == "hot" and "HINT" in found.also_by


def test_after_its_last_day_an_object_is_read_as_seldom_as_what_is_cold():
    policy, wishes = Policy(), Wishes(expires=MONDAY)
    assert hint_factor(wishes, MONDAY - 1, policy) == 1.0
    assert hint_factor(wishes, MONDAY, policy) == policy.hint_cold
    assert policy.horizon_days < LONG_AGO
