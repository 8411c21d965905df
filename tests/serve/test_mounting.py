"""The real process with a real mount: ready, umount, crash, fstab's way of starting it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from stratum.serve.mountpoint import clear_dead_mount, mounts, unmount_lazily
from stratum.serve.store_lock import holder_of
from tests.conftest import one_transport
from tests.serve.running import DEADLINE, ROOT, Running, command, environment

pytestmark = [pytest.mark.fuse, pytest.mark.system]


@pytest.fixture
def mountpoint(tmp_path):
    yield tmp_path / "mnt"
    if tmp_path / "mnt" in mounts():
        unmount_lazily(tmp_path / "mnt")


@pytest.fixture
def start(tmp_path, mountpoint, transport):
    def run(*arguments, s3="none"):
        words = ["-o", f"transport={transport}"]
        places = ["--data", str(tmp_path / "data"), "--s3", s3, *words, *arguments, str(mountpoint)]
        return Running(tmp_path, *places, name="stratumfs")

    return run


def test_the_mount_is_there_when_it_says_ready_and_umount_ends_the_process(start, mountpoint):
    with start() as server:
        server.ready()
        assert mounts()[mountpoint] == "fuse.stratumfs"
        (mountpoint / "photos").mkdir()
        (mountpoint / "photos/a.txt").write_text("kept")
        subprocess.run(["umount", mountpoint], check=True, timeout=DEADLINE)
        assert server.end() == 0
        assert "stopped: unmounted" in server.text
    with start("--s3", "127.0.0.1:0") as server:
        assert server.ready()
        assert (mountpoint / "photos/a.txt").read_text() == "kept"
        assert server.end(signal.SIGTERM) == 0
    assert mountpoint not in mounts()


def test_a_stop_publishes_what_is_open_within_ten_seconds(start, mountpoint):
    with start() as server:
        server.ready()
        (mountpoint / "bucket").mkdir()
        fd = os.open(mountpoint / "bucket/open", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x" * 100_000)
        began = time.monotonic()
        assert server.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 10
        with pytest.raises(OSError):  # nobody is there any more to close it
            os.close(fd)
    with start() as server:
        server.ready()
        assert (mountpoint / "bucket/open").stat().st_size == 100_000
        server.end(signal.SIGTERM)


def test_the_mount_of_a_killed_process_is_cleared_at_the_next_start(start, mountpoint):
    with start() as server:
        server.ready()
        (mountpoint / "bucket").mkdir()
        fd = os.open(mountpoint / "bucket/f", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"acknowledged")
        os.fsync(fd)
        os.close(fd)
        server.end(signal.SIGKILL)
    with pytest.raises(OSError):
        os.statvfs(mountpoint)
    with start() as server:
        server.ready()
        assert (mountpoint / "bucket/f").read_bytes() == b"acknowledged"
        assert server.end(signal.SIGINT) == 0


@one_transport
def test_a_dead_mount_can_be_cleared_by_itself(start, mountpoint):
    with start() as server:
        server.ready()
        server.end(signal.SIGKILL)
    assert clear_dead_mount(mountpoint)
    assert mountpoint not in mounts() and not clear_dead_mount(mountpoint)


def test_a_second_signal_leaves_no_dead_mount(start, mountpoint):
    with start() as server:
        server.ready()
        (mountpoint / "bucket").mkdir()
        os.kill(server.process.pid, signal.SIGSTOP)  # both signals are there when it looks
        os.kill(server.process.pid, signal.SIGTERM)
        os.kill(server.process.pid, signal.SIGINT)
        assert server.end(signal.SIGCONT) in (0, 1)
    deadline = time.monotonic() + DEADLINE
    while mountpoint in mounts() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert mountpoint not in mounts()


@pytest.fixture
def as_installed(tmp_path):
    """A folder with `stratumfs` in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "stratumfs"
    interpreter, script = command("stratumfs", tmp_path)
    body = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{Path(script).read_text()}"
    program.write_text(f"#!{interpreter}\n{body}")
    program.chmod(0o755)
    return folder


def run(*line: object, env: dict[str, str]) -> subprocess.CompletedProcess:
    """To its end, with what it printed in files: whoever goes on in the background must not be waited for."""
    return subprocess.run(list(map(str, line)), env=env, timeout=DEADLINE, check=False, capture_output=True, text=True)


def test_mount_and_the_line_of_fstab_work_and_umount_loses_nothing(tmp_path, mountpoint, as_installed):
    mountpoint.mkdir()
    fstab = tmp_path / "fstab"
    options = f"rw,_netdev,nofail,dev,suid,x-systemd.automount,data={tmp_path}/data,s3=none"
    fstab.write_text(f"stratum {mountpoint} fuse.stratumfs {options} 0 0\n")
    used = f"mkdir {mountpoint}/bucket && echo kept > {mountpoint}/bucket/f && umount {mountpoint}"
    done = in_usr_local(as_installed, f"mount --fstab {fstab} {mountpoint} && {used}")
    assert (done.returncode, done.stderr) == (0, "")
    wait_for_end(tmp_path)
    used = f"cat {mountpoint}/bucket/f && umount {mountpoint}"
    done = in_usr_local(as_installed, f"mount -t fuse.stratumfs -o {options} stratum {mountpoint} && {used}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "kept\n", "")
    wait_for_end(tmp_path)


def in_usr_local(folder: Path, script: str) -> subprocess.CompletedProcess:
    """Run a script where mount(8) finds what is in `folder`: seen by this script alone."""
    script = f"mount --bind {folder} /usr/local/sbin && {script}"
    return run("unshare", "--mount", "sh", "-c", script, env=environment())


def test_mount_says_why_it_could_not(mountpoint, as_installed):
    mountpoint.mkdir()
    mounting = f"mount -t fuse.stratumfs -o data={mountpoint}/data,s3=none stratum {mountpoint}"
    done = in_usr_local(as_installed, mounting)
    assert done.returncode != 0 and "cannot contain what serves it" in done.stderr
    assert mountpoint not in mounts()


def test_the_helper_of_mount_does_the_same(tmp_path, mountpoint, as_installed):
    mountpoint.mkdir()
    helper = tmp_path / "mount.stratumfs"
    helper.symlink_to(tmp_path / "bin/stratumfs")
    done = run(helper, "stratum", mountpoint, "-n", "-v", "-o", f"rw,data={tmp_path}/data,s3=none", env=environment())
    assert (done.returncode, done.stderr) == (0, "")
    end(tmp_path, mountpoint)


def end(folder: Path, mountpoint: Path) -> None:
    """Unmount, and wait for the process that served."""
    subprocess.run(["umount", mountpoint], check=True, timeout=DEADLINE)
    wait_for_end(folder)


def wait_for_end(folder: Path) -> None:
    """Return when no process has the store any more."""
    deadline = time.monotonic() + DEADLINE
    while holder_of(folder / "data") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert holder_of(folder / "data") is None


@one_transport
def test_in_the_background_it_returns_when_mounted(tmp_path, mountpoint, transport):
    options = f"rw,_netdev,background,data={tmp_path}/data,s3=none,transport={transport}"
    line = [*command("stratumfs", tmp_path), "stratum", str(mountpoint), "-o", options]
    done = subprocess.run(line, env=environment(), timeout=DEADLINE, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert mounts()[mountpoint] == "fuse.stratumfs"
    holder = holder_of(tmp_path / "data")
    assert holder.mountpoint == str(mountpoint)
    again = subprocess.run(line, env=environment(), timeout=DEADLINE, check=False, capture_output=True, text=True)
    assert again.returncode == 1 and f"process {holder.pid} has the store" in again.stderr
    end(tmp_path, mountpoint)


NOBODY = 65534


def as_nobody(mountpoint: Path, *line: str) -> subprocess.CompletedProcess:
    """As another user than root, with the mount as working directory: the folders above it are closed to others."""
    return subprocess.run(
        line, cwd=mountpoint, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False
    )


def flags_of(mountpoint: Path) -> set[str]:
    """The options that the kernel shows for a mount."""
    lines = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    return set(next(options for _, where, _, options, *_ in lines if where == str(mountpoint)).split(","))


def test_every_word_of_an_fstab_line_is_taken_and_means_what_it_says(tmp_path, mountpoint, start):
    words = "defaults,_netdev,noauto,user,nofail,x-systemd.automount,x-systemd.requires=net.target,dev,suid,exec,rw"
    with start("-o", words) as server:
        server.ready()
        assert {"rw", "nosuid", "nodev"} <= flags_of(mountpoint) and not flags_of(mountpoint) & {"ro", "noexec"}
        (mountpoint / "bucket").mkdir()
        (mountpoint / "bucket/run").write_text("#!/bin/sh\necho ran\n")
        (mountpoint / "bucket/run").chmod(0o755)
        assert subprocess.run([mountpoint / "bucket/run"], capture_output=True, check=True).stdout == b"ran\n"
        assert as_nobody(mountpoint, "cat", "bucket/run").returncode == 0
        assert server.end(signal.SIGTERM) == 0
    with start("-o", "ro,noatime,noexec,nodev,nosuid,defaults") as server:
        server.ready()
        assert {"ro", "noatime", "noexec", "nodev", "nosuid"} <= flags_of(mountpoint)
        for change in (
            lambda: (mountpoint / "bucket/new").write_text("x"),
            lambda: (mountpoint / "bucket/run").chmod(0o600),
            lambda: os.truncate(mountpoint / "bucket/run", 0),
            lambda: os.utime(mountpoint / "bucket/run"),
            lambda: os.setxattr(mountpoint / "bucket/run", "user.a", b"b"),
            lambda: (mountpoint / "bucket/run").unlink(),
            lambda: (mountpoint / "other").mkdir(),
            lambda: os.rename(mountpoint / "bucket/run", mountpoint / "bucket/ran"),
        ):
            with pytest.raises(OSError, match="Read-only file system"):
                change()
        with pytest.raises(PermissionError):
            subprocess.run([mountpoint / "bucket/run"], check=False)
        assert "echo" in (mountpoint / "bucket/run").read_text()
        assert server.end(signal.SIGTERM) == 0


def test_with_allow_root_nobody_else_is_let_in(tmp_path, mountpoint, start):
    with start("-o", "allow_root") as server:
        server.ready()
        (mountpoint / "bucket").mkdir()
        (mountpoint / "bucket/f").write_text("x")
        refused = as_nobody(mountpoint, "cat", "bucket/f")
        assert refused.returncode != 0 and b"Permission denied" in refused.stderr
        assert (mountpoint / "bucket/f").read_text() == "x"
        assert server.end(signal.SIGTERM) == 0


def test_with_auto_unmount_a_killed_process_leaves_no_mount(mountpoint, start):
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with start("-o", "auto_unmount") as server:
            server.ready()
            assert mounts()[mountpoint] == "fuse.stratumfs"
            (mountpoint / "bucket").mkdir(exist_ok=True)
            assert server.end(ending) == (0 if ending is signal.SIGTERM else -signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE
        while mountpoint in mounts() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert mountpoint not in mounts()


@one_transport
def test_an_option_that_nobody_knows_is_refused_with_its_name(mountpoint, start):
    with start("-o", "allow_rot") as server:
        assert server.end() != 0
        assert "allow_rot" in server.text
    assert mountpoint not in mounts()


@one_transport
def test_each_signal_that_asks_for_the_end_publishes_unmounts_and_ends_well(mountpoint, start):
    """One life after the other; that an end by SIGTERM is the same on both transports is seen above."""
    before = ""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        with start() as server:
            server.ready()
            (mountpoint / "bucket").mkdir(exist_ok=True)
            assert not before or (mountpoint / "bucket" / before).read_text() == "closed a moment ago"
            before = f"before-{number.name}"
            (mountpoint / "bucket" / before).write_text("closed a moment ago")
            assert server.end(number) == 0
            assert f"stopped: {number.name}" in server.text
        assert mountpoint not in mounts()


@one_transport
def test_sigusr1_says_where_every_thread_is_and_changes_nothing(mountpoint, start):
    with start() as server:
        server.ready()
        server.process.send_signal(signal.SIGUSR1)
        server.read_until(r"Current thread 0x\S+ \(most recent call first\):\n(  File .*\n)+")
        server.read_until("trio/_core")
        (mountpoint / "bucket").mkdir()
        assert server.end(signal.SIGTERM) == 0


def test_a_signal_that_was_ignored_when_it_was_started_stays_ignored(tmp_path, mountpoint):
    line = ["--data", str(tmp_path / "data"), "--s3", "none", str(mountpoint)]
    with Running(tmp_path, *line, name="stratumfs", before=("nohup",)) as server:
        server.ready()
        server.process.send_signal(signal.SIGHUP)
        server.process.send_signal(signal.SIGUSR1)  # which it takes after the other one
        server.read_until("Current thread")
        (mountpoint / "bucket").mkdir()
        assert server.end(signal.SIGTERM) == 0
        assert "stopped: SIGTERM" in server.text
