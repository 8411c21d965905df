import os
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stratum.serve import mount_protection
from stratum.serve.mount_command import main
from stratum.serve.mount_links import install_helpers
from stratum.serve.mount_protection import protect_from_memory_pressure


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "bin/stratumfs"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_helper_leads_to_the_program_and_is_led_anew_after_a_move(tmp_path, program):
    assert "now" in "".join(install_helpers(tmp_path, program))
    assert (tmp_path / "mount.stratumfs").resolve() == program
    assert "already" in "".join(install_helpers(tmp_path, program))
    (tmp_path / "mount.stratumfs").unlink()
    (tmp_path / "mount.stratumfs").symlink_to(tmp_path / "gone")
    assert "now" in "".join(install_helpers(tmp_path, program))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bin",
        "mount.fuse.stratumfs",
        "mount.stratumfs",
    ]


def test_what_somebody_else_put_there_is_left_alone(tmp_path, program):
    (tmp_path / "mount.stratumfs").write_text("theirs")
    with pytest.raises(click.ClickException, match="was not made by this command"):
        install_helpers(tmp_path, program)
    assert (tmp_path / "mount.stratumfs").read_text() == "theirs"


def test_what_cannot_be_run_is_not_installed(tmp_path):
    with pytest.raises(click.ClickException, match="no program"):
        install_helpers(tmp_path, tmp_path / "missing")


def test_a_folder_that_is_not_there_is_named(tmp_path, program):
    with pytest.raises(click.ClickException, match="No such file"):
        install_helpers(tmp_path / "missing", program)


def test_the_command_installs_it_and_mounts_nothing(tmp_path, program, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(program)])
    done = CliRunner().invoke(main, [f"--install-helper={tmp_path}"])
    assert done.exit_code == 0, done.output
    assert os.readlink(tmp_path / "mount.stratumfs") == str(program)


def test_mount_may_ask_for_everything_but_the_mount(tmp_path):
    done = CliRunner().invoke(main, ["stratum", str(tmp_path / "m"), "-sfnv", "-o", f"rw,data={tmp_path}/data"])
    assert (done.exit_code, done.output) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("places", [[], ["a", "b", "c"]])
def test_too_few_and_too_many_places_are_refused(places):
    done = CliRunner().invoke(main, places)
    assert done.exit_code == 2 and "MOUNTPOINT" in done.output


@pytest.mark.parametrize(("before", "after"), [("0\n", "-900"), ("-1000\n", "-1000"), ("500\n", "-900")])
def test_memory_that_runs_short_is_taken_from_others_first(tmp_path, before, after):
    score = tmp_path / "oom_score_adj"
    score.write_text(before)
    with_own_flags_untouched(score)
    assert score.read_text().strip() == after


def test_without_the_right_to_it_the_mount_goes_on_as_it_is(tmp_path):
    with_own_flags_untouched(tmp_path / "missing")


def with_own_flags_untouched(score: Path) -> None:
    class NoLibrary:
        @staticmethod
        def prctl(*_: int) -> int:
            return -1

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mount_protection.ctypes, "CDLL", lambda _: NoLibrary)
        protect_from_memory_pressure(score)
