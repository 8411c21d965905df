import json

import pytest
from click.testing import CliRunner

from stratum.serve.cli import main
from stratum.serve.kms_commands import kms_group

ROWS = [{"name": "invoices", "created": 1_700_000_000_000_000_000, "generations": 2}]


class Server:
    """What a running server would be asked."""

    def __init__(self) -> None:
        self.asked = []

    def ask(self, method, path, body=None):
        self.asked.append((method, path, body))
        return ROWS if method == "GET" else {"name": "invoices", "generations": 2}


@pytest.fixture
def run(tmp_path):
    server = Server()

    def command(*words):
        result = CliRunner().invoke(kms_group(lambda loaded: server), [*words, "--data", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return result.output, server.asked[-1]

    return command


def test_a_key_is_created_and_rotated_by_its_name(run):
    assert run("create", "invoices") == ("created invoices\n", ("POST", "kms", {"name": "invoices"}))
    rotated = ("POST", "kms/rotate", {"name": "invoices"})
    assert run("rotate", "invoices") == ("invoices has 2 generations\n", rotated)


def test_keys_are_listed_for_people_and_for_programs(run):
    text, asked = run("list")
    assert asked == ("GET", "kms", None)
    assert "invoices" in text and "2023-11-14" in text and "GENERATIONS" in text
    assert json.loads(run("list", "--json")[0]) == ROWS


def test_the_commands_are_part_of_the_program():
    assert set(main.commands["kms"].commands) == {"create", "list", "rotate"}
