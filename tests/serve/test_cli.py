"""The commands as people type them, up to where a server is needed; with one: tests/serve/test_process.py."""

import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from stratum.serve import options
from stratum.serve.cli import main
from stratum.serve.mount_command import main as stratumfs
from stratum.serve.settings_file import load_settings
from stratum.serve.store_lock import lock_store


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in ("STRATUM_CONFIG", "STRATUM_STORE_DATA", "STRATUM_S3_ADDRESS"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments, command=main):
        return CliRunner().invoke(command, arguments)

    return call


def commands(group, path=()):
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


@pytest.mark.parametrize("path, command", list(commands(main)), ids=str)
def test_every_command_teaches_what_it_does(run, path, command):
    answer = run(*path, "--help")
    assert answer.exit_code == 0
    assert command.help and len(command.help.splitlines()[0]) > 20
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_stratumfs_teaches_its_options_and_fstab(run):
    answer = run("--help", command=stratumfs)
    assert answer.exit_code == 0
    for word in ("close=durable", "/etc/fstab", "[SOURCE] MOUNTPOINT", "ready"):
        assert word in answer.output


def test_shown_settings_are_a_settings_file_that_says_the_same(run, tmp_path):
    answer = run("config", "show", "--data", str(tmp_path), "--s3", "[::1]:9")
    path = tmp_path / "shown.toml"
    path.write_text(answer.output)
    expected = load_settings(None, {}, {"store.data": str(tmp_path), "s3.address": "[::1]:9"}).settings
    assert load_settings(path, {}).settings == expected
    assert "# command line" in answer.output
    assert json.loads(run("config", "show", "--json").output)["tier.hot.code"] == "4+2"


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("key", "list"), ("bucket", "create", "abc"), ("config", "show", "--running")],
)
def test_without_a_server_the_commands_say_so(run, tmp_path, arguments):
    answer = run(*arguments, "--data", str(tmp_path))
    assert answer.exit_code == 1
    assert answer.output == f"error: no server runs on the store in {tmp_path} (--data names another)\n"
    assert not list(tmp_path.iterdir())


def test_a_server_without_an_endpoint_cannot_be_asked_and_that_is_said(run, tmp_path):
    with lock_store(tmp_path):
        answer = run("status", "--data", str(tmp_path))
    assert answer.exit_code == 1 and "without an S3 endpoint" in answer.output


def test_an_address_that_was_given_is_tried(run, tmp_path, monkeypatch):
    monkeypatch.setenv("STRATUM_ROOT_ACCESS_KEY", "admin")
    monkeypatch.setenv("STRATUM_ROOT_SECRET_KEY", "canary-canary-canary")
    answer = run("status", "--data", str(tmp_path), "--s3", "127.0.0.1:1")
    assert answer.exit_code == 1 and answer.output.startswith("error: no answer from 127.0.0.1:1")


def test_a_bad_setting_ends_with_the_place_and_code_2(run, tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("[s3]\nadress = 1\n")
    answer = run("status", "--config", str(path))
    assert answer.exit_code == 2
    assert answer.output == f"error: {path}, line 2: s3.adress is not a setting (did you mean s3.address?)\n"


@pytest.mark.parametrize("name", ["a/b", "a b", "../x", "ä", "%41", ""])
def test_a_name_that_is_no_name_is_not_sent(run, tmp_path, name, monkeypatch):
    answer = run("bucket", "delete", name, "--data", str(tmp_path), "--s3", "127.0.0.1:1")
    assert answer.exit_code in (1, 2) and "no answer" not in answer.output


@pytest.mark.parametrize("places", [(), ("a", "b", "c")])
def test_a_mount_has_one_source_and_one_place_at_most(run, places):
    assert run(*places, command=stratumfs).exit_code == 2


def test_a_bug_is_a_traceback_in_the_log_and_code_70(caplog):
    @options.reports_errors
    def buggy():
        raise ExceptionGroup("nursery", [ValueError("ours"), OSError(5, "theirs")])

    with pytest.raises(SystemExit) as ended:
        buggy()
    assert ended.value.code == 70
    assert "a bug in Stratum" in caplog.text and "ValueError: ours" in caplog.text


def test_what_the_world_did_is_one_line_each_and_code_1(capsys):
    @options.reports_errors
    def unlucky():
        raise ExceptionGroup("a", [ExceptionGroup("b", [OSError(28, "No space left", "/x")])])

    with pytest.raises(SystemExit) as ended:
        unlucky()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: No space left: /x\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    code = "from stratum.serve.cli import main; main(['config', 'show'])"
    reader, writer = os.pipe()
    os.close(reader)  # as `| head -0` does
    try:
        done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
