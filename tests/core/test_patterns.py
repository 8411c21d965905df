"""What the order and the hours of reads say."""

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.config import MIB
from stratum.core.patterns import HOURS, KEPT_DAYS, SEEKS, Pattern, Profile, Steps, hour_of_week, profile_of


def taken(*reads):
    reader = Steps()
    return [reader.take(start, stop) for start, stop in reads], reader.streams


def test_reads_that_follow_each_other_are_a_stream_and_short_ones_elsewhere_are_seeks():
    assert taken((0, MIB), (MIB, 2 * MIB), (2 * MIB, 3 * MIB)) == (["", "on", "on"], True)
    assert taken((9 * MIB, 9 * MIB + 8), (5 * MIB, 5 * MIB + 999), (0, 70_000)) == (["seek", "seek", ""], False)
    assert taken((0, 8 * MIB), (50 * MIB, 58 * MIB)) == (["", ""], False)
    assert taken((0, 9), (3 * MIB, 3 * MIB + 9), (9 * MIB, 9 * MIB + 9))[0] == ["", "", ""], (
        "as a page cache leaves out"
    )
    assert taken((0, 10), (0, 10), (0, 10)) == (["", "", ""], False), "small objects read again and again"


def test_a_pattern_is_forgotten_after_a_week_and_scattered_reads_outweigh_a_stream():
    pattern = Pattern()
    pattern.note(10, "on", streams=True)
    assert pattern.word(10) == "stream"
    for _ in range(SEEKS):
        pattern.note(11, "seek", streams=False)
    assert pattern.word(11) == "scattered"
    assert pattern.word(10 + KEPT_DAYS) == "scattered"
    assert pattern.word(11 + KEPT_DAYS) == ""


def test_seeks_of_different_days_do_not_add_up():
    pattern = Pattern()
    for day in range(1, 20):
        for _ in range(SEEKS - 1):
            pattern.note(day, "seek", streams=False)
    assert pattern.word(19) == ""


def learned(hours_of_day, days, visits=10.0, weekdays=range(7)):
    profile = Profile()
    for day in range(days):
        for hour in hours_of_day:
            if day % 7 in weekdays:
                profile.note(hour_of_week(day, hour * 60), visits)
    return profile


def test_an_hour_that_comes_back_daily_is_a_peak_on_every_day_and_no_other_hour_is():
    profile = learned([9], 4)
    assert [hour for hour in range(HOURS) if profile.is_peak(hour)] == list(range(9, HOURS, 24))
    assert profile.expected(9) > 5
    assert not learned([9], 2).is_peak(9), "twice is no habit"


def test_an_hour_that_comes_back_weekly_is_a_peak_on_its_day():
    profile = learned([9], 22, weekdays=[1])
    assert [hour for hour in range(HOURS) if profile.is_peak(hour)] == [24 + 9]


def test_what_is_read_at_all_hours_has_no_peaks():
    profile = learned(range(24), 30)
    assert not any(profile.is_peak(hour) for hour in range(HOURS))


@given(st.lists(st.tuples(st.integers(0, HOURS - 1), st.integers(0, 10**6)), max_size=50))
def test_a_profile_is_read_back_as_it_was_stored(notes):
    profile = Profile()
    for hour, visits in notes:
        profile.note(hour, visits)
    again = profile_of(profile.stored())
    assert again.weeks == profile.weeks
    assert all(abs(a - b) <= 1e-6 * abs(b) + 1e-30 for a, b in zip(again.visits, profile.visits, strict=True))
