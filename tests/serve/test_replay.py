"""`stratum replay`: small traces by hand, scalar and vector forms bit for bit, and no look into the future."""

import csv
import gzip
import json
from datetime import date

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.costs import overnight, read_in_full
from stratum.core.tiering.evidence import after, at_night, first
from stratum.core.tiering.groups import GroupDay, GroupEvidence, is_sweep
from stratum.core.tiering.groups import after as group_after
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.rule import REASONS, outcome
from stratum.core.tiering.situation import on_evening
from stratum.s3.access_log import Exchange, line
from stratum.s3.http import Request, Response
from stratum.serve.cli import main
from stratum.serve.replay_baselines import BASELINES, baseline
from stratum.serve.replay_columns import COLUMNS
from stratum.serve.replay_log import read_logs
from stratum.serve.replay_rule import Production
from stratum.serve.replay_run import optimum, replay
from stratum.serve.replay_trace import Trace
from tests.core.tiering_cases import BOOK, books, situations

BOOK_TOML = """
name = "round"
month_days = 30.0
waiting_usd_per_hour = 0.0
[tier.hot]
storage_usd_per_gb_month = 0.12
[tier.warm]
storage_usd_per_gb_month = 0.06
retrieval_usd_per_gb = 0.004
[tier.cold]
storage_usd_per_gb_month = 0.006
retrieval_usd_per_gb = 0.02
"""

histories = st.lists(  # per unit: reads and share of the bytes on each of 12 days
    st.lists(st.sampled_from([(0, 0.0), (0, 0.0), (1, 1.0), (1, 0.2), (3, 3.0)]), min_size=12, max_size=12),
    min_size=2, max_size=6,
)  # fmt: skip


def trace_of(history, sizes, born=None):
    count, days = len(history), len(history[0])
    reads = []
    for day in range(days):
        units = np.array([u for u in range(count) if history[u][day][0]], dtype=np.int64)
        visits = np.array([float(history[u][day][0]) for u in units])
        reads.append((units, visits, np.array([history[u][day][1] * sizes[u] for u in units])))
    numbers = np.zeros(count, dtype=np.int64)
    return Trace(
        names=[f"p/{u}" for u in range(count)], gb=np.array(sizes), born=numbers if born is None else np.array(born),
        prefix=numbers, prefixes=["p"], group=np.arange(count) % 2, groups=2, first_day=date(2026, 1, 1), days=days,
        reads=reads,
    )  # fmt: skip


def one_by_one(history, sizes, book, policy):
    """What a running server would decide: unit after unit, evening after evening, with the scalar form."""
    count, days = len(history), len(history[0])
    evidence = [first(20_000, tier=1, group=u % 2) for u in range(count)]
    groups = [GroupEvidence(), GroupEvidence()]
    moves = []
    for day in range(days - 1):
        today = [
            (float(h[day][0]), h[day][1] * size if h[day][0] else 0.0) for h, size in zip(history, sizes, strict=True)
        ]
        swept = []
        for group in range(min(2, count)):
            members = range(group, count, 2)
            gb = read = 0.0
            for u in members:
                gb, read = gb + sizes[u], read + min(today[u][1], sizes[u])
            touched = sum(today[u][0] > 0 for u in members)
            seen = GroupDay(gb, read, len(members), touched)
            swept.append(is_sweep(seen, policy))
            groups[group] = group_after(groups[group], seen, policy)
        for u in range(count):
            size, (visits, gb_read) = sizes[u], today[u]
            e = after(evidence[u], size, visits, gb_read, book, policy, swept=swept[u % 2])
            at_hand = read_in_full(size, gb_read)
            situation = on_evening(
                e, size, groups[u % 2], policy, values=overnight(ONE, book, size, e.values, at_hand),
                today=today[u], at_hand=at_hand,
            )  # fmt: skip
            found = outcome(ONE, situation, book, policy)
            if found.tier != e.tier:
                moves.append((day, u, e.tier, found.tier, REASONS[found.reason]))
            evidence[u] = at_night(e, size, gb_read, book, found.tier, found.moves[found.tier])
    return moves


def listed(run):
    return [
        (step, int(u), int(f), int(g), REASONS[why])
        for step, units, before, target, reasons in run.listed
        for u, f, g, why in zip(units, before, target, reasons, strict=True)
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.data(), books)
def test_replay_decides_exactly_what_a_server_decides_unit_by_unit(history, data, book):
    sizes = [data.draw(st.sampled_from([1e-6, 0.01, 1.0, 300.0])) for _ in history]
    policy = Policy(sweep_members=2, sweep_credit=0.3)
    trace = trace_of(history, sizes)
    run = replay(trace, book, Production(trace, book, policy, 1), 1, listing=True)
    assert listed(run) == one_by_one(history, sizes, book, policy)


@settings(max_examples=25, deadline=None)
@given(st.lists(situations(), min_size=1, max_size=5), books)
def test_the_rule_over_columns_gives_the_same_bits_as_over_single_numbers(found, book):
    columns = {}
    for name in type(found[0]).__struct_fields__:
        values = [getattr(s, name) for s in found]
        columns[name] = tuple(map(np.array, zip(*values, strict=True))) if name in _TRIPLES else np.array(values)
    together = outcome(COLUMNS, type(found[0])(**columns), book, Policy())
    for at, situation in enumerate(found):
        alone = outcome(ONE, situation, book, Policy())
        for name in alone.__dataclass_fields__:
            mine, theirs = getattr(alone, name), getattr(together, name)
            if isinstance(mine, tuple):
                assert mine == tuple(float(np.broadcast_to(column, len(found))[at]) for column in theirs), name
            else:
                assert mine == np.broadcast_to(theirs, len(found))[at], name


_TRIPLES = ("shadow", "values")


@settings(max_examples=25, deadline=None)
@given(histories, st.data(), st.sampled_from(["stratum", *BASELINES]), st.integers(1, 10))
def test_no_policy_sees_the_future(history, data, name, day):
    other = [unit[:day] + data.draw(st.permutations(unit[day:])) for unit in history]
    sizes = [1.0 + u for u in range(len(history))]
    found = []
    for version in (history, other):
        trace = trace_of(version, sizes)
        rule = Production(trace, BOOK, Policy(), 1) if name == "stratum" else baseline(name, trace, BOOK)
        run = replay(trace, BOOK, rule, 1, listing=True)
        found.append([(step, u.tolist(), g.tolist()) for step, u, _, g, _ in run.listed if step < day])
    assert found[0] == found[1]


@settings(max_examples=25, deadline=None)
@given(histories, books, st.sampled_from(["stratum", *BASELINES]), st.integers(0, 2))
def test_nothing_beats_the_optimum(history, book, name, start):
    trace = trace_of(history, [1.0] * len(history))
    rule = Production(trace, book, Policy(), start) if name == "stratum" else baseline(name, trace, book)
    run = replay(trace, book, rule, start)
    assert (run.cost >= optimum(trace, book, start) * (1 - 1e-9) - 1e-15).all()
    assert run.cost.sum() == pytest.approx(run.rent + run.reading + run.moving)


def test_an_object_costs_nothing_before_it_exists():
    history = [[(0, 0.0)] * 10, [(0, 0.0)] * 9 + [(1, 1.0)]]
    trace = trace_of(history, [1.0, 1.0], born=[0, 8])
    run = replay(trace, BOOK, baseline("always-warm", trace, BOOK), 1)
    assert run.cost == pytest.approx([10 * 0.002, 2 * 0.002 + 0.004])
    late = replay(trace, BOOK, Production(trace, BOOK, Policy(bound=1.0, credit_days=0.0), 1), 1, listing=True)
    assert all(step >= trace.born[u] for step, units, *_ in late.listed for u in units)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "book.toml").write_text(BOOK_TOML)
    (tmp_path / "inventory.csv").write_text(
        "object,size_bytes,created,content_type\n"
        "a/quiet.bin,1000000000,2026-01-01T00:00:00Z,\n"
        '"b/busy, film.mp4",2000000000,2026-01-01T00:00:00Z,video/mp4\n'
    )
    rows = [f'2026-01-{day:02}T12:00:00Z,"b/busy, film.mp4",GET,2000000000' for day in range(1, 31)]
    rows += ["2026-01-05T12:00:00Z,a/quiet.bin,HEAD,0", "2026-01-05T12:00:00Z,gone,GET,5"]
    with gzip.open(tmp_path / "events.csv.gz", "wt") as target:
        target.write("\n".join(["time,object,op,bytes", *rows]) + "\n")
    return tmp_path


def asked(files, *more):
    where = ["--inventory", str(files / "inventory.csv"), "--events", str(files / "events.csv.gz")]
    return CliRunner().invoke(main, ["replay", *where, "--prices", str(files / "book.toml"), *more])


def test_replay_prints_cost_optimum_regret_and_moves(files):
    found = json.loads(asked(files, "--policy", "all", "--json").stdout)
    assert found["trace"] == {
        "objects": 2, "gb": 3.0, "days": 30, "events": 31, "events_of_unknown_objects": 1,
    }  # fmt: skip
    policies = found["policies"]
    # The film goes hot after its first day and the quiet one cold: 29 days of 0.008 and 0.0002, and one of warm.
    best = 0.004 + 0.008 + 29 * 0.008 + 0.002 + 29 * 0.0002
    assert policies["optimum"]["books"]["round"]["cost"] == pytest.approx(best)
    warm = policies["always-warm"]["books"]["round"]
    assert warm["cost"] == pytest.approx(30 * (0.004 + 0.008) + 30 * 0.002)
    assert warm["flip_flops"] == warm["moves"] == 0
    assert set(warm["prefixes"]) == {"a", "b"}
    assert 1 < policies["stratum"]["regret"] < policies["always-cold"]["regret"]


def test_replay_prints_tables_for_people(files):
    outcome = asked(files)
    assert outcome.exit_code == 0, outcome.output
    for word in ("price book round", "optimum", "best-single-tier", "stratum", "PREFIXES EQUAL"):
        assert word in outcome.stdout


def test_moves_are_written_with_their_reasons(files):
    outcome = asked(files, "--moves-out", str(files / "moves.csv"), "--policy", "stratum")
    assert outcome.exit_code == 0, outcome.output
    rows = list(csv.DictReader((files / "moves.csv").read_text().splitlines()))
    assert {(row["object"], row["from"], row["to"]) for row in rows} >= {("a/quiet.bin", "warm", "cold")}
    assert all(row["time"].endswith("T23:59:59Z") and row["reason"] in REASONS for row in rows)


def test_a_parameter_can_be_tried(files):
    assert asked(files, "--set", "prior_rate=0.1").exit_code == 0
    assert "no such parameter" in asked(files, "--set", "luck=7").output
    assert asked(files, "--set", "prior_rate=-1").exit_code == 2


def test_what_is_wrong_with_a_file_is_said_with_its_line(files):
    (files / "inventory.csv").write_text("object,size_bytes,created,content_type\na,many,2026-01-01,\n")
    assert "inventory.csv, line 2: 'many' is not a number of bytes" in asked(files).output
    (files / "inventory.csv").write_text("key,size\na,1\n")
    assert "no column object, size_bytes" in asked(files).output
    (files / "book.toml").write_text(BOOK_TOML.replace("0.12", "-1.0"))
    assert "below 0" in asked(files).output


def test_access_logs_are_read_as_events(tmp_path):
    line = (
        'own films [06/Feb/2026:23:30:00 -0100] 192.0.2.3 arn 3E57 REST.{op}.OBJECT a%20b.mp4 "GET /films/a%2520b.mp4 '
        'HTTP/1.1" {status} - 500 1000 70 10 "-" "curl" -\n'
    )
    text = line.format(op="GET", status=206) + line.format(op="HEAD", status=200) + line.format(op="GET", status=404)
    (tmp_path / "log").write_text(text + "not a line\n")
    assert list(read_logs((tmp_path / "log",), lambda _: None)) == [("2026-02-07", "films/a b.mp4", 500)]


def test_the_access_logs_that_stratum_writes_are_read_as_events(tmp_path):
    request = Request(method="GET", raw_path=b"/films/a%20b.mp4", peer="192.0.2.3", request_id="3E57")
    exchange = Exchange(request, None, "", 0.0, 1_770_000_000, "host")
    (tmp_path / "log").write_bytes(line(exchange, Response(status=206), owner="own", sent=5, turnaround=0.0))
    assert list(read_logs((tmp_path / "log",), lambda _: None)) == [("2026-02-02", "films/a b.mp4", 5)]
