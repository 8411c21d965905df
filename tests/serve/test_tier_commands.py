"""`stratum tier`: what it asks of the server, and what it says."""

import json

import pytest
from click.testing import CliRunner

from stratum.serve import tier_commands
from stratum.serve.cli import main
from stratum.serve.tier_commands import tier_group

STATUS = {
    "tiers": {"hot": {"volumes": 2, "bytes": 1000}, "cold": {"volumes": 3, "bytes": 64_000_000}},
    "backends": [{"name": "b2", "tier": "cold", "trouble": "b2: PutObject: 403 AccessDenied"}],
    "moves": {
        "waiting": 4,
        "under_way": [{"volume": "10", "from": "hot", "to": "cold", "bytes": 200, "done": 50}],
        "put_off": [{"volume": "11", "times": 2, "seconds": 12.5, "why": "no answer in time"}],
        "done": {"hot to cold": 3},
        "bytes": 64_000_000,
        "failed": 1,
    },
    "lost": {"12": "the frame fails its check"},
}
OBJECT = {
    "tier": "mixed; hot=12%, cold=88%",
    "bytes": {"hot": 12, "cold": 88},
    "volumes": ["10", "11"],
    "waiting": 0,
    "why": "",
    "neighbours": 1,
    "neighbours_bytes": 1500,
    "neighbours_named": [{"name": "letter.txt", "bytes": 1500}],
}


class Server:
    """What a running server would be asked."""

    def __init__(self) -> None:
        self.asked = []
        self.waiting = [2, 1, 1, 0]
        self.trouble = ""

    def ask(self, method, path, body=None):
        self.asked.append((method, path, body))
        if path == "tiers":
            return STATUS
        if path.startswith("tiers/check"):
            return {"name": "b2", "trouble": self.trouble}
        if path == "tiers/move":
            return {**OBJECT, "queued": ["10", "11"], "waiting": 2}
        return {**OBJECT, "waiting": self.waiting.pop(0)}


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def run(tmp_path, server, monkeypatch):
    monkeypatch.setattr(tier_commands, "POLL_SECONDS", 0)

    def command(*words, code=0):
        result = CliRunner().invoke(tier_group(lambda loaded: server), [*words, "--data", str(tmp_path)])
        assert result.exit_code == code, result.output
        return result.output

    return command


def test_tiers_and_backends_are_listed(run):
    text = run("list")
    assert "64.0 MB" in text and "403 AccessDenied" in text
    assert json.loads(run("list", "--json"))["tiers"] == STATUS["tiers"]


def test_the_status_says_what_moves_what_waits_and_what_is_wrong(run):
    text = run("status")
    for words in ("403 AccessDenied", "fails its check", "moves waiting      4", "25 %", "no answer in time"):
        assert words in text
    assert json.loads(run("status", "--json")) == STATUS


def test_a_move_asks_and_returns_and_waits_only_if_told_to(run, server):
    text = run("move", "s3://films/old/one.mkv", "--to", "cold")
    body = {"bucket": "films", "key": "old/one.mkv", "version": "", "to": "cold", "backend": ""}
    assert server.asked == [("POST", "tiers/move", body)]
    assert "letter.txt" in text, "what lies beside it is named"
    text = run("move", "s3://films/old/one.mkv", "--to", "cold", "--wait")
    assert "0 of 2 volumes moved" in text and "1 of 2 volumes moved" in text
    assert server.waiting == []


def test_what_is_no_object_url_or_tier_is_refused(run):
    run("move", "films/one.mkv", "--to", "cold", code=1)
    run("show", "s3://films", code=1)
    run("move", "s3://films/one.mkv", "--to", "freezing", code=2)


def test_a_backend_in_trouble_fails_its_check(run, server):
    assert "in order" in run("check", "b2")
    server.trouble = "no such bucket"
    assert "no such bucket" in run("check", "b2", code=1)


def test_the_commands_are_part_of_the_program():
    assert set(main.commands["tier"].commands) == {
        "list",
        "status",
        "show",
        "move",
        "check",
        "report",
        "policy",
        "export",
    }


def test_an_export_asks_page_by_page_and_says_what_it_wrote(run, server, tmp_path):
    volume = {"name": "b/k#1", "size": 10, "born": 20_000, "type": "", "reads": [[20_001, 2, 15, 0, False]]}
    pages = iter([{"next": 7, "volumes": [volume]}, {"next": None, "volumes": []}])
    server.ask = lambda method, path, body=None: (server.asked.append((method, path, body)), next(pages))[1]
    told = run("export", "--out", str(tmp_path / "trace"), "--days", "9")
    assert [body for _, _, body in server.asked] == [{"after": -1, "days": 9}, {"after": 7, "days": 9}]
    assert "1 volumes, 2 reads, 0 of them estimated" in told
    assert (tmp_path / "trace/events.csv").read_text().splitlines()[1:] == [
        "2024-10-05T12:00:00Z,b/k#1,GET,7", "2024-10-05T12:00:00Z,b/k#1,GET,8",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "trace").iterdir()) == ["events.csv", "inventory.csv"]
