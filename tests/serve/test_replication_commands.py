"""`stratum replication` on a server that only writes down what it is asked."""

import json

import click
import pytest
from click.testing import CliRunner

from stratum.serve.replication_commands import replication_group

TARGET = {"target": "paris/b", "waiting": 3, "sent": 1, "bytes": 1500, "failed": 0, "trouble": "away"}
GOING = {"bucket": "photos", "begun": 1, "ended": 0, "after": "k", "looked": 9, "queued": 8, "behind": 1}
FOUND = {"targets": [TARGET], "resyncs": [GOING, {**GOING, "bucket": "music", "ended": 2}]}


class Server:
    def __init__(self):
        self.asked = []

    def ask(self, method, path, body=None):
        self.asked.append((method, path, body))
        return FOUND if method == "GET" else {}


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def run(server, tmp_path):
    groups = click.Group(commands={"replication": replication_group(lambda loaded: server)})

    def command(*words):
        return CliRunner().invoke(groups, ["replication", *words, "--data", str(tmp_path)])

    return command


@pytest.mark.parametrize("word", ["resync", "stop"])
def test_a_resync_is_begun_and_stopped_by_the_name_of_its_bucket(run, server, word):
    assert run(word).exit_code == 2
    assert run(word, "photos").exit_code == 0
    assert server.asked == [("POST", f"replication/{word}", {"bucket": "photos"})]


def test_progress_is_a_table_for_people_and_json_for_programs(run):
    shown = run("status").output
    assert all(word in shown for word in ("paris/b", "away", "photos", "goes on", "music", "ended 1970"))
    assert json.loads(run("status", "--json").output) == FOUND
