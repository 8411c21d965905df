"""`stratum user`, `stratum policy` and keys for users, on a server that only writes down what it is asked."""

import json

import click
import pytest
from click.testing import CliRunner

from stratum.serve import cli
from stratum.serve.cli import main
from stratum.serve.user_commands import policy_group, user_group

ROWS = [{"user": "a" * 64, "name": "alice", "email": "", "created": 1_700_000_000_000_000_000, "policies": ["p"]}]
MADE = {"user": "a" * 64, "name": "alice", "access_key": "K", "secret_key": "s"}


class Server:
    def __init__(self) -> None:
        self.asked = []

    def ask(self, method, path, body=None):
        self.asked.append((method, path, body))
        if path == "users/policies":
            return {"p": '{"Statement": []}'}
        return ROWS if method == "GET" else MADE


@pytest.fixture
def run(tmp_path, monkeypatch):
    server = Server()

    monkeypatch.setattr(cli, "connect", lambda loaded: server)
    groups = click.Group(commands={"key": main.commands["key"]})
    groups.add_command(user_group(lambda loaded: server))
    groups.add_command(policy_group(lambda loaded: server))

    def command(*words, stdin=""):
        result = CliRunner().invoke(groups, [*words, "--data", str(tmp_path)], input=stdin)
        assert result.exit_code == 0, result.output
        return result.output, server.asked[-1]

    return command


def test_a_user_is_made_with_what_another_store_knows_of_it(run):
    output, asked = run("user", "create", "alice", "--id", "x1", "--email", "a@example.org")
    assert output == "a" * 64 + "\n"
    assert asked == ("POST", "users", {"name": "alice", "user": "x1", "email": "a@example.org", "account": ""})


def test_users_are_listed_for_people_and_for_programs(run):
    assert "alice" in run("user", "list")[0]
    assert json.loads(run("user", "list", "--json")[0]) == ROWS


def test_a_secret_key_comes_from_a_file_or_standard_input_never_from_the_command_line(run):
    words = ("key", "create", "--user", "x1", "--access-key", "OLD", "--secret-key-file", "-")
    _, asked = run(*words, stdin="the-secret\n")
    assert asked == ("POST", "keys", {"name": "", "user": "x1", "access_key": "OLD", "secret_key": "the-secret"})


def test_policies_are_put_shown_and_deleted(run, tmp_path):
    file = tmp_path / "policy.json"
    file.write_text('{"Statement": []}')
    assert run("policy", "put", "x1", "p", str(file))[1] == (
        "POST",
        "users/policies/put",
        {"user": "x1", "policy": "p", "text": '{"Statement": []}'},
    )
    assert json.loads(run("policy", "list", "x1")[0]) == {"p": {"Statement": []}}
    assert run("policy", "delete", "x1", "p")[1][1] == "users/policies/delete"
    assert run("user", "delete", "x1")[1] == ("POST", "users/delete", {"user": "x1"})


def test_the_commands_are_part_of_the_program():
    assert {"user", "policy"} <= set(main.commands)
