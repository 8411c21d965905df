"""contrib/stratumfs.service: what systemd says of it, and the process behaving as it expects of Type=notify."""

import configparser
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stratum.serve.mountpoint import mounts, unmount_lazily
from tests.serve.running import DEADLINE, ROOT, Running

UNIT = ROOT / "contrib/stratumfs.service"
OWN_MOUNTS = {"PrivateMounts", "PrivateTmp", "ProtectHome", "ProtectSystem", "ReadWritePaths", "PrivateDevices"}


def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read(UNIT)
    return unit["Service"]


def test_nothing_gives_the_service_mounts_that_nobody_else_sees():
    assert not OWN_MOUNTS & set(service())


@pytest.mark.program("systemd-analyze")
def test_systemd_understands_every_line(tmp_path):
    program = shlex.split(service()["ExecStart"])[0]
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(program, sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.fuse
@pytest.mark.system
def test_it_is_up_when_it_is_mounted_and_says_so_when_it_stops(tmp_path):
    mountpoint = tmp_path / "mnt"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(DEADLINE)
        channel.bind(str(tmp_path / "notify"))
        arguments = ["--data", str(tmp_path / "data"), "--s3", "none", str(mountpoint)]
        try:
            with Running(tmp_path, *arguments, name="stratumfs", NOTIFY_SOCKET=str(tmp_path / "notify")) as server:
                told = channel.recv(4096)
                assert told.startswith(b"READY=1\nSTATUS=ready mount=")
                assert mounts()[mountpoint] == "fuse.stratumfs"
                server.process.send_signal(signal.SIGTERM)
                assert channel.recv(4096) == b"STOPPING=1\nSTATUS=stopping: SIGTERM"
                assert server.end() == 0
        finally:
            if mountpoint in mounts():
                unmount_lazily(mountpoint)


def test_the_unit_stops_the_process_the_way_the_process_ends():
    """SIGTERM to the main process alone, and more time than it takes; what a crash left is taken away."""
    unit = service()
    assert unit["Type"] == "notify" and unit["KillMode"] == "mixed" and unit["Restart"] == "on-failure"
    assert int(unit["TimeoutStopSec"].removesuffix("s")) > 10
    mountpoint = shlex.split(unit["ExecStart"])[-1]
    assert shlex.split(unit["ExecStopPost"]) == ["-/bin/umount", "-lq", mountpoint] and Path(mountpoint).is_absolute()
