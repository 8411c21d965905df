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


OWNER, USER, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def acl(owner: int, group: int, other: int, *, somebody: int | None = None, mask: int | None = None) -> bytes:
    """A list as setfacl writes it."""
    named = [] if somebody is None else [(USER, somebody, SOMEBODY)]
    limit = [] if mask is None else [(MASK, mask, 0xFFFFFFFF)]
    rest = [(OWNER, owner, 0xFFFFFFFF), (GROUP, group, 0xFFFFFFFF), (OTHER, other, 0xFFFFFFFF)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in sorted(rest + named + limit))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


READING = "print(os.read(os.open('f', os.O_RDONLY), 9))"
REFUSED = "PermissionError: [Errno 13] Permission denied: 'f'"


async def test_an_access_control_list_decides_and_agrees_with_the_mode(place):  # noqa: F811
    def play():
        path = place / "f"
        path.write_bytes(b"x")
        os.chmod(path, 0o600)
        assert errno_of(os.getxattr, path, ACCESS) == "ENODATA"
        assert as_somebody(place, READING) == REFUSED
        os.setxattr(path, ACCESS, acl(6, 0, 0, somebody=4, mask=4))
        assert (mode_of(path), as_somebody(place, READING)) == (0o640, "b'x'")
        os.chmod(path, 0o600)  # the mask is what the group bits are now
        assert os.getxattr(path, ACCESS) == acl(6, 0, 0, somebody=4, mask=0)
        assert as_somebody(place, READING) == REFUSED
        os.chmod(path, 0o664)
        os.setxattr(path, ACCESS, acl(6, 4, 4, somebody=0, mask=4))
        assert as_somebody(place, READING) == REFUSED
        os.setxattr(path, ACCESS, acl(7, 5, 4))  # no more than a mode: none is kept
        assert (mode_of(path), os.listxattr(path)) == (0o754, [])
        assert errno_of(os.setxattr, path, DEFAULT, acl(7, 5, 4)) in ("EACCES", "EPERM")
        assert errno_of(os.setxattr, path, ACCESS, b"nonsense") != "EIO"

    await there(play)


async def test_what_is_made_in_a_directory_with_a_default_list_gets_it(place):  # noqa: F811
    def play():
        (place / "d").mkdir()
        given = acl(7, 5, 0, somebody=7, mask=7)
        os.setxattr(place / "d", DEFAULT, given)
        old = os.umask(0)
        try:
            os.close(os.open(place / "d/f", os.O_CREAT | os.O_WRONLY, 0o666))
            os.mkfifo(place / "d/p", 0o644)
            (place / "d/sub").mkdir(mode=0o755)
            os.symlink("f", place / "d/link")
        finally:
            os.umask(old)
        assert os.getxattr(place / "d/f", ACCESS) == acl(6, 5, 0, somebody=7, mask=6)
        assert (mode_of(place / "d/f"), mode_of(place / "d/p"), mode_of(place / "d/sub")) == (0o660, 0o640, 0o750)
        assert os.getxattr(place / "d/sub", DEFAULT) == given
        assert os.getxattr(place / "d/sub", ACCESS) == acl(7, 5, 0, somebody=7, mask=5)
        assert os.listxattr(place / "d/link", follow_symlinks=False) == []
        os.removexattr(place / "d", DEFAULT)
        os.removexattr(place / "d", DEFAULT)  # as local file systems: what is not there is removed already
        (place / "d/plain").write_bytes(b"")
        assert os.listxattr(place / "d/plain") == []

    await there(play)


async def test_the_umask_counts_where_no_default_list_is_in_its_place(place, transport):  # noqa: F811
    def play():
        given = acl(7, 7, 5, somebody=6, mask=7)
        (place / "with").mkdir()
        os.setxattr(place / "with", DEFAULT, given)
        (place / "without").mkdir()
        for folder in ("with", "without"):
            made = place / folder
            making = "os.mkdir('d', 0o777); os.mkfifo('p', 0o666); os.open('f', os.O_CREAT | os.O_WRONLY, 0o666)"
            run_python(made, f"import os; os.umask(0o027); {making}")
            yield [mode_of(made / name) for name in ("d", "p", "f")]
        yield os.getxattr(place / "with/f", ACCESS)

    limited, plain, kept = await there(lambda: list(play()))
    assert plain == [0o750, 0o640, 0o640]
    if transport == "raw":  # libfuse has the kernel subtract it before anybody is asked
        assert limited == [0o775, 0o664, 0o664]
        assert kept == acl(6, 7, 4, somebody=6, mask=6)


async def test_a_new_list_takes_the_set_group_bit_from_a_file_of_a_group_that_one_is_not_in(place):  # noqa: F811
    def play():
        for group, kept in ((SOMEBODY, 0o2000), (SOMEBODY + 1, 0)):
            path = place / f"of-{group}"
            path.write_bytes(b"")
            os.chown(path, SOMEBODY, group)
            os.chmod(path, 0o2755)
            assert (
                as_somebody(place, f"os.setxattr({path.name!r}, {ACCESS!r}, {acl(7, 5, 5, somebody=4, mask=5)!r})")
                == ""
            )
            assert mode_of(path) == kept | 0o755

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
