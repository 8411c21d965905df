"""Explain, report, policy and metrics of tiering, as the pages below /-/ show them and the commands print them."""

import json
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner
from quart_trio import QuartTrio

from stratum.console.app import add_console
from stratum.console.explain import parse_time
from stratum.console.metrics import RequestCounts
from stratum.core.errors import InvalidArgument
from stratum.core.tiering.decide import decide
from stratum.core.tiering.explain import from_json
from stratum.serve.cli import main
from stratum.serve.explain_command import explain_command, policy_command, report_command
from tests.console.test_pages import TOKEN, authorise
from tests.engine.deciding import DAY, NOON, deciding_engine


@pytest.fixture
async def console(tmp_path):
    async with deciding_engine(tmp_path) as store:
        app = QuartTrio("stratum", static_folder=None)
        add_console(
            app, store.engine, authorise=authorise, settings={}, about=dict, token=TOKEN, counts=RequestCounts()
        )

        async def ask(method, path, body=None, code=200):
            key = store.engine.credentials._root.access_key
            content = None if body is None else json.dumps(body)
            found = await app.test_client().open(path, method=method, headers={"X-Signed-By": key}, data=content)
            raw = await found.get_data()
            assert found.status_code == code, raw
            return raw.decode() if path == "/-/metrics" else json.loads(raw)

        await store.put("films/old")
        yield SimpleNamespace(store=store, ask=ask)


def command(made, answer, *words):
    """What a command prints if the server answers so."""
    asked = []

    class Server:
        def ask(self, method, path, body=None):
            asked.append((method, path, body))
            return answer

    result = CliRunner().invoke(made(lambda loaded: Server()), [*words, "--data", "/nowhere"])
    assert result.exit_code == 0, result.output
    return result.output, asked


async def test_a_moved_object_is_explained_with_every_number(console):
    await console.store.days(40)
    found = await console.ask("GET", "/-/explain/bucket/films/old")
    assert found["tier"] == "cold" and found["sentence"].startswith("cold: read on 0 of the last 32 days; ")
    (part,) = found["parts"]
    assert (part["from"], part["to"], part["tier"], part["state"]) == (0, 3_000_000, "cold", "settled")
    assert [(each["from"], each["to"]) for each in part["history"] if each["done"]] == [("hot", "cold")]
    assert [each["tier"] for each in part["costs"]] == ["hot", "warm", "cold"]
    assert part["evidence"]["group"]["prefix"] == "films"
    decision = from_json(msgspec.json.encode(part["decision"]))
    assert decide(decision.situation, decision.prices, decision.policy) == decision
    assert await console.ask("POST", "/-/admin/tiers/explain", {"bucket": "bucket", "key": "films/old"}) == found


async def test_the_past_is_told_from_the_decisions_on_record(console):
    await console.store.days(40)
    (part,) = (await console.ask("GET", "/-/explain/bucket/films/old"))["parts"]
    (turn,) = [each for each in part["history"] if each["done"]]
    before = await console.ask("GET", f"/-/explain/bucket/films/old?at={NOON // 10**9 + 60}")
    assert before["parts"][0]["tier"] == "hot" and "on record" in before["sentence"]
    after = await console.ask("GET", f"/-/explain/bucket/films/old?at={turn['done'] // 10**9 + 60}")
    (then,) = after["parts"]
    assert (then["tier"], then["reason"]) == ("cold", turn["reason"])
    decision = from_json(msgspec.json.encode(then["decision"]))
    assert (decision.was, decision.tier, decision.reason) == ("hot", "cold", turn["reason"])
    assert decide(decision.situation, decision.prices, decision.policy) == decision


async def test_what_is_small_new_missing_or_asked_wrongly_is_answered(console):
    await console.store.put("small", 100)
    assert "rest in the index" in (await console.ask("GET", "/-/explain/bucket/small"))["sentence"]
    assert "first look is this evening" in (await console.ask("GET", "/-/explain/bucket/films/old"))["sentence"]
    await console.ask("GET", "/-/explain/bucket/none", code=404)
    await console.ask("GET", "/-/explain/none/none", code=404)
    await console.ask("GET", "/-/explain/bucket/films/old?at=yesterday", code=400)
    await console.ask("POST", "/-/admin/tiers/explain", {"bucket": "bucket"}, code=400)


async def test_what_was_deleted_is_said_to_be_and_how_to_ask_for_what_it_was(console):
    engine = console.store.engine
    await engine.buckets.amend("bucket", lambda bucket: msgspec.structs.replace(bucket, versioning="Enabled"))
    await console.store.put("films/old", seed=2)
    view = await engine.objects.head("bucket", b"films/old")
    await engine.objects.delete("bucket", b"films/old")
    refused = await console.ask("GET", "/-/explain/bucket/films/old", code=404)
    assert "films/old was deleted; ask for a version of it by its id" in str(refused)
    found = await console.ask("GET", f"/-/explain/bucket/films/old?versionId={view.version}")
    assert found["version"] == view.version
    assert "no object films/none in bucket" in str(await console.ask("GET", "/-/explain/bucket/films/none", code=404))


async def test_keys_with_several_slashes_are_theirs(console):
    await console.store.put("a//b", 10)
    assert (await console.ask("GET", "/-/explain/bucket/a//b"))["key"] == "a//b"


async def test_the_report_has_the_columns_of_replay(console):
    await console.store.days(12)
    weeks = (await console.ask("GET", "/-/admin/tiers/report"))["weeks"]
    assert [week["last"] for week in weeks] == sorted((week["last"] for week in weeks), reverse=True)
    week = weeks[0]
    assert week["cost"] == pytest.approx(week["rent"] + week["reading"] + week["moving"]) and week["volumes"] == 1
    assert week["optimum"] <= week["cost"] and week["optimum"] <= week["do_nothing"] and week["sampled"] == 1
    text, _ = command(report_command, {"mode": "auto", "weeks": weeks})
    assert "REGRET" in text and "decisions regretted: 0" in text
    hints = {
        "hot": {"days": 7.0, "reads_said": 4.2, "reads_without": 0.5, "reads_seen": 5.0, "helps": True},
        "cold": {"days": 30.0, "reads_said": 0.1, "reads_without": 1.0, "reads_seen": 9.0, "helps": False},
    }
    text, _ = command(report_command, {"mode": "auto", "weeks": weeks, "hints": hints})
    assert "hint hot: 4.2 full reads said, 0.5 without it, 5 came, in 7 days of volumes: it helps" in text
    assert "hint cold" in text and text.rstrip().endswith("it misleads")
    text, _ = command(report_command, {"mode": "auto", "weeks": []})
    assert "nothing to report yet" in text


async def test_a_bucket_says_what_it_wishes(console):
    path = "/-/admin/tiers/policy/bucket"
    assert await console.ask("GET", path) == {"mode": "", "pin": "", "no_cold": False, "max_latency_ms": 0.0}
    assert (await console.ask("PUT", path, {"no_cold": True}))["no_cold"]
    assert await console.ask("PUT", path, {"mode": "observe"}) == {
        "mode": "observe", "pin": "", "no_cold": True, "max_latency_ms": 0.0,
    }  # fmt: skip
    await console.ask("PUT", path, {"pin": "lukewarm"}, code=400)
    await console.ask("PUT", path, {"colour": "red"}, code=400)
    await console.ask("DELETE", path)
    assert not (await console.ask("GET", path))["no_cold"]
    await console.ask("GET", "/-/admin/tiers/policy/none", code=404)


async def test_what_a_bucket_forbids_later_is_acted_on_the_same_evening_and_not_when_its_volumes_are_due(console):
    path = "/-/admin/tiers/policy/bucket"
    await console.store.days(40)
    assert await console.store.tier("films/old") == "cold"
    await console.ask("PUT", path, {"no_cold": True})
    await console.store.days()
    assert await console.store.tier("films/old") == "warm"
    await console.ask("PUT", path, {"pin": "hot"})
    await console.store.days()
    assert await console.store.tier("films/old") == "hot"
    await console.store.days(2)
    assert not console.store.engine.tiering.looked, "once, and not every evening"
    await console.ask("DELETE", path)
    await console.store.days(2)
    assert await console.store.tier("films/old") != "hot"


async def test_the_metrics_of_tiering_are_those_that_are_documented(console):
    await console.store.days(40)
    text = await console.ask("GET", "/-/metrics")
    for line in (
        "# TYPE stratum_tier_bytes gauge",
        "# TYPE stratum_tier_objects gauge",
        'stratum_tier_objects{tier="cold"} 1.0',
        'stratum_tier_moves_total{from="hot",reason="PRIOR_ONLY",to="cold"} 1.0',
        "stratum_tier_move_bytes_total ",
        "stratum_tier_cold_reads_total 0.0",
        'stratum_tier_read_first_byte_seconds_bucket{le="+Inf",tier="hot"}',
        'stratum_tier_regret_ratio{window="7d"} ',
        "stratum_tier_predicted_saving_dollars_total ",
        "stratum_tier_realised_saving_dollars_total ",
        "stratum_tier_flipflops_total 0.0",
        "stratum_tier_calibration_error ",
        'stratum_tier_shadow_price{tier="hot"} ',
        "# TYPE stratum_tier_move_limit_remaining gauge",
        "stratum_tier_sweeps_detected_total 0.0",
    ):
        assert line in text, line
    assert "films" not in text


async def test_explain_prints_a_sentence_costs_history_and_the_next_look(console):
    await console.store.days(40)
    found = await console.ask("GET", "/-/explain/bucket/films/old")
    text, asked = command(explain_command, found, "s3://bucket/films/old", "--at", "2026-11-20")
    body = {"bucket": "bucket", "key": "films/old", "version": "", "at": "2026-11-20"}
    assert asked == [("POST", "tiers/explain", body)]
    for words in ("cold: read on 0 of the last 32 days", "moved: hot to cold", "next look: 20", "USD A MONTH"):
        assert words in text
    assert text.startswith("cold, 3.0 MB in 1 volume; deciding: auto")
    assert "shares" not in text
    (shared,) = found["parts"]
    shared = {**shared, "shared": True, "volume_bytes": 64_000_000}
    shared["history"] = [{**each, "realised": -0.5} for each in shared["history"]]
    text, _ = command(explain_command, {**found, "parts": [shared]}, "s3://bucket/films/old")
    assert "in a volume of 64.0 MB that it shares" in text and "cost, net, 0.5 so far" in text
    text, _ = command(explain_command, {**found, "parts": [], "parts_in_all": 0}, "s3://bucket/films/old")
    assert "3.0 MB in the index; " in text
    text, _ = command(explain_command, found, "s3://bucket/films/old", "--json")
    assert json.loads(text) == found


def test_policy_asks_for_what_is_named_and_nothing_else():
    shown = {"mode": "", "pin": "hot", "no_cold": True, "max_latency_ms": 0}
    text, asked = command(policy_command, shown, "films", "--pin", "hot", "--no-cold")
    assert asked == [("PUT", "tiers/policy/films", {"pin": "hot", "no_cold": True})] and "not set" in text
    assert command(policy_command, shown, "films")[1] == [("GET", "tiers/policy/films", None)]
    assert command(policy_command, shown, "films", "--clear")[1][0] == ("DELETE", "tiers/policy/films", None)


def test_times_are_iso_or_seconds():
    assert parse_time("1970-01-02T00:00:00Z") == parse_time("86400") == DAY
    assert parse_time("1970-01-02") == DAY
    for text in ("tomorrow", "", "1e400", "9" * 400):
        with pytest.raises(InvalidArgument):
            parse_time(text)


def test_explain_is_part_of_the_program():
    assert "explain" in main.commands
