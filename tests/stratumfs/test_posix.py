"""What POSIX and Linux ask of a file system beyond what the public suite looks at, seen through a real mount.

Room: tests. May import: stratum, tests.stratumfs.
"""

import fcntl
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stratumfs.test_mount import engine, errno_of, place, there  # noqa: F401 - fixtures

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as other users"),
]

SOMEBODY = 12345
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service+ep, as setcap writes it


def as_somebody(folder: Path, code: str) -> str:
    """Run Python as a user without rights, in `folder` (which may lie where that user could not go)."""
    become = f"import os, fcntl\nos.setgroups([])\nos.setgid({SOMEBODY})\nos.setuid({SOMEBODY})\n"
    return run_python(folder, become + code)


def run_python(folder: Path, code: str) -> str:
    """Run Python in `folder`; return what it printed, or the last line of its traceback."""
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]


def program(path: Path, mode: int) -> None:
    path.write_bytes(b"#!/bin/sh\n")
    os.chmod(path, mode)
    os.setxattr(path, "security.capability", CAPABILITY)


def privileges(path: Path) -> tuple[int, bool]:
    """The mode, and whether it has capabilities."""
    return stat.S_IMODE(path.stat().st_mode), "security.capability" in os.listxattr(path)


EMPTYING = "os.close(os.open('program', os.O_WRONLY | os.O_TRUNC))"
WRITING = "os.write(os.open('program', os.O_WRONLY), b'evil')"
CUTTING = "os.truncate('program', 3)"


@pytest.mark.parametrize("change", [EMPTYING, WRITING, CUTTING])
async def test_a_program_that_somebody_else_changes_loses_what_would_run_it_as_its_owner(place, change):  # noqa: F811
    def play():
        program(place / "program", 0o6777)
        assert privileges(place / "program") == (0o6777, True)
        assert as_somebody(place, change) == ""
        assert privileges(place / "program") == (0o0777, False)

    await there(play)


@pytest.mark.parametrize("change", [EMPTYING, WRITING, CUTTING])
async def test_a_program_that_root_changes_keeps_its_mode_but_not_its_capabilities(place, change):  # noqa: F811
    def play():
        program(place / "program", 0o6777)
        assert run_python(place, f"import os\n{change}") == ""
        assert privileges(place / "program") == (0o6777, False)

    await there(play)


async def test_the_group_bit_without_x_is_no_privilege_and_stays(place):  # noqa: F811
    def play():
        program(place / "program", 0o2666)
        assert as_somebody(place, EMPTYING) == ""
        assert privileges(place / "program") == (0o2666, False)

    await there(play)


async def test_the_kernel_does_not_go_on_with_the_mode_it_remembers(place):  # noqa: F811
    """It forgets only size and times by itself when it opens a file to empty it; statx may ask for the mode alone."""

    def play():
        program(place / "program", 0o4777)
        assert as_somebody(place, EMPTYING) == ""
        assert shown_mode(place / "program") == 0o0777

    await there(play)


def shown_mode(path: Path) -> int:
    """The mode alone: the kernel asks the mount for it only if it was told to forget it."""
    import ctypes

    answer = ctypes.create_string_buffer(256)
    here, as_stat, mode = -100, 0, 0x0002  # AT_FDCWD, AT_STATX_SYNC_AS_STAT, STATX_MODE
    if ctypes.CDLL(None).statx(here, os.fsencode(path), as_stat, mode, answer):
        raise FileNotFoundError(path)
    return stat.S_IMODE(struct.unpack_from("<H", answer, 28)[0])


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (-1, -1),
        (-(10**18), -(10**18)),
        (2**33 * 10**9, 2**33 * 10**9),
        (253402300799 * 10**9, 2**63 - 1),
        (-(2**66), -(2**63)),
    ],
)
async def test_times_before_1970_are_kept_and_those_beyond_292_years_from_it_become_the_last_ones(
    place,  # noqa: F811
    asked,
    shown,
):
    def play():
        (place / "f").write_bytes(b"")
        os.utime(place / "f", ns=(asked, asked))
        return (place / "f").stat().st_mtime_ns

    assert await there(play) == shown


async def test_attributes_of_root_are_listed_to_root_alone_and_a_name_space_is_no_name(place):  # noqa: F811
    def play():
        (place / "f").write_bytes(b"")
        os.setxattr(place / "f", "user.a", b"1")
        os.setxattr(place / "f", "trusted.a", b"1")
        assert os.listxattr(place / "f") == ["trusted.a", "user.a"]
        assert as_somebody(place, "print(os.listxattr('f'))") == "['user.a']"
        assert errno_of(os.setxattr, place / "f", "user.", b"1") == "EINVAL"

    await there(play)


async def test_acls_are_refused_not_pretended(place):  # noqa: F811
    def play():
        (place / "f").write_bytes(b"")
        for name in ("system.posix_acl_access", "system.posix_acl_default"):
            for path in (place, place / "f"):
                assert errno_of(os.getxattr, path, name) == "ENOTSUP"

    await there(play)


TAKING = "fcntl.{0}(os.open('f', os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB{1}); print('taken')"


async def test_locks_exclude_other_processes(place):  # noqa: F811
    def play():
        (place / "f").write_bytes(b"")
        os.chmod(place / "f", 0o666)
        fd = os.open(place / "f", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert "BlockingIOError" in as_somebody(place, TAKING.format("flock", ""))
        fcntl.flock(fd, fcntl.LOCK_UN)
        assert as_somebody(place, TAKING.format("flock", "")) == "taken"
        fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
        assert "BlockingIOError" in as_somebody(place, TAKING.format("lockf", ", 10, 5"))
        assert as_somebody(place, TAKING.format("lockf", ", 10, 10")) == "taken"
        os.close(fd)
        assert as_somebody(place, TAKING.format("lockf", "")) == "taken"

    await there(play)


async def test_room_is_reserved_and_bytes_are_copied_by_what_the_kernel_and_libc_do_themselves(place):  # noqa: F811
    def play():
        (place / "f").write_bytes(b"abc")
        one, two = os.open(place / "f", os.O_RDWR), os.open(place / "g", os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(one, 1, 9_999)
        assert os.pread(one, 20_000, 0) == b"abc" + bytes(9_997)
        assert os.copy_file_range(one, two, 10_000) == 10_000
        assert os.pread(two, 20_000, 0) == b"abc" + bytes(9_997)
        os.close(one)
        os.close(two)

    await there(play)
