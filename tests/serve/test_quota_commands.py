"""`stratum quota` on a server that only writes down what it is asked."""

import json

import click
import pytest
from click.testing import CliRunner

from stratum.serve.quota_commands import quota_group


def row(name, **more):
    limits = {"bytes_max": None, "objects_max": None}
    return {"name": name, "owner": "u1", "owner_name": "alice", "bytes": 1500, "objects": 3, **limits, **more}


FOUND = {"complete": True, "buckets": [row("photos", objects_max=9), row("music")], "users": [row("u1")]}
WRONG = {"bucket": "photos", "stored": {"bytes": 1, "objects": 1}, "counted": {"bytes": 2, "objects": 1}}


class Server:
    def __init__(self):
        self.asked = []
        self.wrong = []

    def ask(self, method, path, body=None):
        self.asked.append((method, path, body))
        if path == "quotas/count":
            return {"wrong": self.wrong, "repaired": body["repair"]}
        return FOUND if method == "GET" else row("photos")


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def run(server, tmp_path):
    groups = click.Group(commands={"quota": quota_group(lambda loaded: server)})

    def command(*words):
        return CliRunner().invoke(groups, ["quota", *words, "--data", str(tmp_path)])

    return command


def test_what_is_not_given_stays_as_it_is(run, server):
    assert run("set", "photos", "--bytes", "2GiB").exit_code == 0
    assert server.asked[-1] == ("POST", "quotas", {"bucket": "photos", "bytes_max": 2 << 30, "objects_max": 9})
    run("set", "photos", "--objects", "none", "--bytes", "0")
    assert server.asked[-1][2] == {"bucket": "photos", "bytes_max": 0, "objects_max": None}
    run("set", "--user", "u1", "--objects", "5")
    assert server.asked[-1][2] == {"user": "u1", "bytes_max": None, "objects_max": 5}


@pytest.mark.parametrize("words", [("set",), ("set", "a"), ("set", "a", "--user", "b"), ("set", "a", "--bytes", "x")])
def test_half_a_command_is_refused_before_anything_is_asked(run, server, words):
    assert run(*words).exit_code == 2
    assert server.asked == []


def test_it_shows_people_a_table_and_programs_json(run):
    assert "photos" in run("show").output
    assert "music" not in run("show", "photos").output
    shown = json.loads(run("show", "--json", "--user", "u1").output)
    assert len(shown["buckets"]) == 2
    assert shown["users"] == FOUND["users"]


def test_limits_are_taken_away(run, server):
    run("clear", "photos")
    assert server.asked[-1] == ("POST", "quotas", {"bucket": "photos"})


def test_a_wrong_counter_is_a_failure_until_it_is_repaired(run, server):
    assert run("verify").exit_code == 0
    server.wrong = [WRONG]
    assert run("verify").exit_code == 1
    assert run("verify", "--repair").exit_code == 0
