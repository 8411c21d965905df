"""`stratum tenant` on a server that only writes down what it is asked."""

import json

import click
import pytest
from click.testing import CliRunner

from stratum.serve.tenant_commands import tenant_group

ROW = {
    "tenant": "acme",
    "name": "Acme",
    "created": 1,
    "users": 3,
    "buckets": 2,
    "bytes": 10**9,
    "objects": 7,
    "bytes_max": None,
    "objects_max": None,
}
MADE = {"tenant": "acme", "name": "Acme", "access_key": "KEY", "secret_key": "secret"}


class Server:
    def __init__(self):
        self.asked = []

    def ask(self, method, path, body=None):
        self.asked.append((method, path, body))
        return [ROW] if method == "GET" else MADE


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def run(server, tmp_path):
    groups = click.Group(commands={"tenant": tenant_group(lambda loaded: server)})

    def command(*words):
        result = CliRunner().invoke(groups, ["tenant", *words, "--data", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return result.output

    return command


def test_a_tenant_is_added_and_its_key_is_shown_once(run, server):
    assert "AWS_SECRET_ACCESS_KEY=secret" in run("add", "Acme", "--id", "acme", "--email", "a@example.org")
    assert server.asked == [("POST", "tenants", {"name": "Acme", "tenant": "acme", "email": "a@example.org"})]
    assert json.loads(run("add", "Acme", "--json")) == MADE


def test_tenants_are_listed_and_removed(run, server):
    assert "1.0 GB" in run("list")
    assert json.loads(run("list", "--json")) == [ROW]
    run("remove", "acme")
    assert server.asked[-1] == ("POST", "tenants/remove", {"tenant": "acme"})
