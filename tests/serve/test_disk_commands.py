"""`stratum disk` on a server that only writes down what it is asked."""

import json

import click
import pytest
from click.testing import CliRunner

from stratum.serve.disk_commands import disk_group

ROW = {
    "slot": 3,
    "path": "/srv/d3",
    "tier": "hot",
    "identity": "a" * 32,
    "in_service": True,
    "reason": "",
    "total_bytes": 10**12,
    "free_bytes": 10**11,
    "shards": 12,
    "shard_bytes": 10**9,
    "leaving_since": None,
    "added": False,
}
FOUND = {
    "disks": [ROW, {**ROW, "slot": 4, "shards": 0, "leaving_since": 1}],
    "capacity": {"hot": {"usable_bytes": 5 * 10**12, "full_code_bytes": 4 * 10**12, "free_bytes": 10**12}},
    "relocation": {"shards": 7, "bytes": 10**9, "under_way": None, "trouble": "no other disk in service has room"},
}


class Server:
    def __init__(self):
        self.asked = []

    def ask(self, method, path, body=None):
        self.asked.append((method, path, body))
        return FOUND if method == "GET" else ROW


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def run(server, tmp_path):
    groups = click.Group(commands={"disk": disk_group(lambda loaded: server)})

    def command(*words):
        result = CliRunner().invoke(groups, ["disk", *words, "--data", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return result.output

    return command


def test_a_disk_is_added_by_its_absolute_path(run, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("add", "new", "--tier", "warm")
    assert server.asked == [("POST", "disks", {"path": str(tmp_path / "new"), "tier": "warm"})]


def test_disks_are_listed_for_people_and_for_programs(run):
    shown = run("list")
    for words in ("/srv/d3", "can be removed", "1.0 TB of it with a narrower code", "no other disk"):
        assert words in shown
    assert json.loads(run("list", "--json")) == FOUND


def test_disks_are_emptied_kept_and_removed_by_their_number(run, server):
    run("drain", "3")
    run("drain", "3", "--cancel")
    run("remove", "3")
    assert server.asked == [
        ("POST", "disks/drain", {"slot": 3, "cancel": False}),
        ("POST", "disks/drain", {"slot": 3, "cancel": True}),
        ("POST", "disks/remove", {"slot": 3}),
    ]
