"""Backup programs on the mount: what each does there, ending with its own verification."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from backup_round import Failed, Round, Row, require

SETTLE_S = 1.1  # programs that compare sizes and whole seconds see no change within one

NEWEST = "the newest of all"


def working_copy(round_: Round) -> Path:
    """A copy of the tree that may be changed, outside the mount, with a link of each kind in it."""
    copy = round_.outside / "source"
    shutil.copytree(round_.tree, copy, symlinks=True)
    (copy / "link-to-nowhere").symlink_to("nowhere")
    first = next(path for path in sorted(copy.rglob("*")) if path.is_file() and not path.is_symlink())
    os.link(first, copy / "hard-link")
    return copy


def change(tree: Path) -> None:
    """What happens between two backups: one file new, one gone, one grown, one edited in place, one renamed."""
    files = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()]
    (tree / "new file").write_bytes(os.urandom(300_000))
    files[1].unlink()
    with files[2].open("ab") as file:
        file.write(b"more\n" * 1000)
    big = max(files[3:], key=lambda path: path.stat().st_size)
    with big.open("r+b") as file:
        file.seek(big.stat().st_size // 2)
        file.write(b"edited in the middle")
    files[3].rename(files[3].with_name("renamed"))


def restic(round_: Round) -> None:
    round_.version("restic", "version")
    source, more = working_copy(round_), {"RESTIC_PASSWORD": "secret", "RESTIC_CACHE_DIR": str(round_.outside / "c")}
    base = ("restic", "-q", "-r", round_.bucket / "repository")
    round_.run(*base, "init", more=more)
    round_.run(*base, "backup", "source", more=more)
    change(source)
    round_.run(*base, "backup", "source", more=more)
    round_.run(*base, "check", "--read-data", more=more)
    round_.run(*base, "restore", "latest", "--target", "back", more=more)
    round_.same(source, round_.outside / "back/source")
    round_.run(*base, "forget", "--keep-last", "1", "--prune", more=more)
    round_.run(*base, "check", "--read-data", more=more)


def borg(round_: Round) -> None:
    round_.version("borg", "--version")
    source, repository = working_copy(round_), round_.bucket / "repository"
    more = {"BORG_PASSPHRASE": "secret", "BORG_BASE_DIR": str(round_.outside / "b")}
    round_.run("borg", "init", "-e", "repokey", repository, more=more)
    round_.run("borg", "create", f"{repository}::one", "source", more=more)
    change(source)
    round_.run("borg", "create", f"{repository}::two", "source", more=more)
    borg_lock(round_, repository, more)
    round_.run("borg", "check", "--verify-data", repository, more=more)
    back = round_.outside / "back"
    back.mkdir()
    round_.run("borg", "extract", f"{repository}::two", cwd=back, more=more)
    round_.same(source, back / "source")
    round_.run("borg", "delete", f"{repository}::one", more=more)
    round_.run("borg", "compact", repository, more=more)
    round_.run("borg", "check", "--verify-data", repository, more=more)


def borg_lock(round_: Round, repository: Path, more: dict[str, str]) -> None:
    """While one `borg create` waits for its standard input, a second must see the lock; after it, not."""
    words = [round_.find("borg"), "create", f"{repository}::first-writer", "-"]
    round_.commands.append(round_.shown(words) + "   # held open while the next one runs")
    first = subprocess.Popen(
        words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=round_.environment(more), cwd=round_.outside
    )
    try:
        lock, deadline = repository / "lock.exclusive", time.monotonic() + 60
        while not lock.exists():
            require(time.monotonic() < deadline and first.poll() is None, "the first writer took no lock")
            time.sleep(0.05)
        second = round_.attempt(
            "borg", "create", "--lock-wait", "1", f"{repository}::second-writer", "source", more=more
        )
        require(second.returncode != 0 and "lock" in second.stderr.lower(), f"two writers at once: {second.stderr}")
        round_.note("the second writer: " + second.stderr.strip().splitlines()[0].split(" /")[0].strip())
        _, said = first.communicate(b"held" * 1000, timeout=120)
        require(first.returncode == 0, f"the first writer: {said!r}")
    finally:
        if first.poll() is None:
            first.kill()
            first.wait()
    require(not lock.exists(), "the lock outlives its writer")
    round_.run("borg", "create", "--lock-wait", "1", f"{repository}::second-writer", "source", more=more)


def rsync(round_: Round) -> None:
    round_.version("rsync", "--version")
    source, target = working_copy(round_), round_.bucket / "copy"
    attributes(source)
    base, ends = ("rsync", "-aHAX", "--delete"), (f"{source}/", f"{target}/")
    round_.run(*base, *ends)
    nothing_to_do(round_, base, ends, "second run")
    change(source)
    round_.run(*base, *ends)
    nothing_to_do(round_, base, ends, "after changes")
    round_.same(source, target)
    links = os.stat(target / "hard-link")
    require(links.st_nlink == os.stat(source / "hard-link").st_nlink, "hard links are not kept")
    time.sleep(SETTLE_S)
    change(source)
    before = inodes(target)
    round_.run(*base, "--inplace", "--no-whole-file", *ends)
    nothing_to_do(round_, base, ends, "after --inplace")
    require(all(number == before[name] for name, number in inodes(target).items() if name in before), "new inodes")
    round_.same(source, target)
    back = round_.outside / "back"
    round_.run(*base, f"{target}/", f"{back}/")
    nothing_to_do(round_, base, (f"{source}/", f"{back}/"), "back again")
    round_.note("every second run transfers nothing, and -nic prints nothing")


def nothing_to_do(round_: Round, base: Iterable[str], ends: tuple[str, str], when: str) -> None:
    """The same again: not one file is transferred, not one attribute differs."""
    said = round_.run(*base, "--stats", *ends)
    count = next(line for line in said.splitlines() if "regular files transferred" in line).split()[-1]
    require(count == "0", f"{when}: {count} files are transferred again")
    differing = round_.run(*base, "-nic", *ends)
    require(not differing, f"{when}: rsync -nic says {differing[:500]}")


def inodes(tree: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_ino for path in tree.rglob("*") if path.is_file()}


def attributes(tree: Path) -> None:
    """What -AX carries: extended attributes, an ACL, odd modes and times."""
    files = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()][5:9]
    os.setxattr(files[0], "user.origin", b"here \xff\x00 binary")
    os.chmod(files[1], 0o4711)
    os.utime(files[2], ns=(1, 1_000_000_001))
    if shutil.which("setfacl"):
        subprocess.run(["setfacl", "-m", "u:65534:r", str(files[3])], capture_output=True, check=False)


def duplicity(round_: Round) -> None:
    round_.version("duplicity", "--version")
    source, url, more = working_copy(round_), f"file://{round_.bucket}/archive", {"PASSPHRASE": "secret"}
    base = ("duplicity", "--no-encryption", "--archive-dir", round_.outside / "archive-dir", "--volsize", "20")
    (round_.bucket / "archive").mkdir()
    round_.run("duplicity", "full", *base[1:], source, url, more=more)
    time.sleep(SETTLE_S)
    change(source)
    round_.run("duplicity", "incr", *base[1:], source, url, more=more)
    round_.run("duplicity", "verify", "--compare-data", *base[1:], url, source, more=more)
    round_.run("duplicity", "restore", *base[1:], url, round_.outside / "back", more=more)
    round_.same(source, round_.outside / "back")


def rdiff_backup(round_: Round) -> None:
    round_.version("rdiff-backup", "--version")
    source, target = working_copy(round_), round_.bucket / "target"
    first = round_.outside / "first"
    shutil.copytree(source, first, symlinks=True)
    round_.run("rdiff-backup", "backup", source, target)
    time.sleep(SETTLE_S)
    change(source)
    round_.run("rdiff-backup", "backup", source, target)
    round_.run("rdiff-backup", "verify", target)
    round_.run("rdiff-backup", "verify", "--at", "1B", target)
    round_.run("rdiff-backup", "compare", "--method", "full", source, target)
    round_.run("rdiff-backup", "restore", "--at", "1B", target, round_.outside / "back")
    round_.same(first, round_.outside / "back")


def rsnapshot(round_: Round) -> None:
    source, root = working_copy(round_), round_.bucket / "snapshots"
    root.mkdir()
    round_.version("rsnapshot", "version")
    lines = [
        "config_version\t1.2",
        f"snapshot_root\t{root}/",
        f"cmd_cp\t{shutil.which('cp')}",
        f"cmd_rm\t{shutil.which('rm')}",
        f"cmd_rsync\t{round_.find('rsync')}",
        "retain\tday\t3",
        "retain\tweek\t2",
        f"lockfile\t{round_.outside}/lock",
        f"backup\t{source}/\there/",
    ]
    (round_.outside / "rsnapshot.conf").write_text("\n".join(lines) + "\n")
    base = ("rsnapshot", "-c", "rsnapshot.conf")
    round_.run(*base, "configtest")
    for _ in range(3):
        round_.run(*base, "day")
    before = round_.outside / "before"
    shutil.copytree(source, before, symlinks=True)
    count_links(round_, root, ("day.0", "day.1", "day.2"))
    change(source)
    round_.run(*base, "day")
    round_.run(*base, "week")
    names = sorted(path.name for path in root.iterdir())
    require(names == ["day.0", "day.1", "week.0"], f"snapshots: {names}")
    newest = next(root.glob("day.0/here/**/source"), root / "day.0/here")
    round_.same(source, below(newest, source))
    round_.same(before, below(root / "day.1/here", source))


def below(folder: Path, source: Path) -> Path:
    """rsnapshot repeats the path of the source below its own folder."""
    inside = folder / str(source).lstrip("/")
    return inside if inside.exists() else folder


def count_links(round_: Round, root: Path, snapshots: tuple[str, ...]) -> None:
    """Every file of three equal snapshots is one inode with three names (or six, where the source has two)."""
    counted = 0
    for path in (root / snapshots[0]).rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        name = path.relative_to(root / snapshots[0])
        facts = [os.stat(root / each / name) for each in snapshots]
        require(len({one.st_ino for one in facts}) == 1, f"{name} was copied, not linked")
        require(facts[0].st_nlink in (3, 6), f"{name} has {facts[0].st_nlink} links")
        counted += 1
    round_.note(f"{counted} files in three snapshots, each one inode; link counts 3 (6 for a file with two names)")


def tar(round_: Round) -> None:
    round_.version("tar", "--version")
    archive, target = round_.bucket / "tree.tar", round_.bucket / "unpacked"
    target.mkdir()
    round_.run("tar", "-C", round_.tree.parent, "-cf", archive, round_.tree.name)
    round_.run("tar", "-C", round_.tree.parent, "-df", archive)
    round_.run("tar", "-C", target, "-xpf", archive)
    round_.run("tar", "-C", target, "-df", archive)
    round_.same(round_.tree, target / round_.tree.name)
    round_.note(f"{sum(1 for _ in target.rglob('*')):,} files and folders")


def git(round_: Round) -> None:
    round_.version("git", "--version")
    origin = round_.outside / "origin"
    round_.run("git", "init", "-q", "-b", "main", origin)
    settings = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "gc.auto=0")
    shutil.copytree(round_.tree, origin / "tree", symlinks=True, ignore=shutil.ignore_patterns(".git"))
    round_.run("git", *settings, "add", ".", cwd=origin)
    round_.run("git", *settings, "commit", "-qm", "one", cwd=origin)
    clone = round_.bucket / "clone"
    round_.run("git", "clone", "-q", "--no-local", origin, clone)
    round_.run("git", "fsck", "--full", "--strict", cwd=clone)
    require(not round_.run("git", "status", "--porcelain", cwd=clone), "the clone is not clean")
    change(clone / "tree")
    round_.run("git", *settings, "checkout", "-qb", "other", cwd=clone)
    round_.run("git", *settings, "add", ".", cwd=clone)
    round_.run("git", *settings, "commit", "-qm", "two", cwd=clone)
    round_.run("git", "checkout", "-q", "main", cwd=clone)
    round_.run("git", "checkout", "-q", "other", cwd=clone)
    round_.run("git", *settings, "gc", "-q", "--prune=now", cwd=clone)
    round_.run("git", "fsck", "--full", "--strict", cwd=clone)
    require(not round_.run("git", "status", "--porcelain", cwd=clone), "the clone is not clean after gc")
    round_.run("git", "push", "-q", "origin", "other", cwd=clone)


def as_a_source(round_: Round) -> None:
    """The mount as what is backed up: unchanged files are known as such, hidden changes are found."""
    source = round_.bucket / "source"
    round_.run("cp", "-a", f"{round_.tree}/.", source)
    quiet = next(path for path in sorted(source.rglob("*")) if path.is_file() and path.stat().st_size > 1000)
    for program in (_restic_counts, _borg_counts):
        round_.version(program.__name__.strip("_").partition("_")[0], *program.ask_version)
        time.sleep(SETTLE_S)
        (source / NEWEST).write_text("borg looks twice at the newest file, wherever it is: so not at one of the others")
        total = program(round_, "first")[0]
        time.sleep(SETTLE_S)
        again = program(round_, "again")
        require(
            again[:2] == (0, 0) and again[2] >= total,
            f"{program.__name__} of an unchanged tree of {total} files: {again}",
        )
        facts = quiet.stat()
        with quiet.open("r+b") as file:
            file.write(os.urandom(16))
        os.utime(quiet, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # same size, same time: ctime alone tells
        new, changed, unmodified = program(round_, "changed")
        require((new, changed) == (0, 1), f"{program.__name__}: {new} new, {changed} changed, {unmodified} not")
    round_.note(f"{total:,} files; second backup: none new, none changed; an edit with size and mtime kept: found")


def _restic_counts(round_: Round, _name: str) -> tuple[int, int, int]:
    """(new, changed, unmodified) files of one more backup of the source."""
    import json

    more = {"RESTIC_PASSWORD": "secret", "RESTIC_CACHE_DIR": str(round_.outside / "c")}
    base = ("restic", "-r", round_.outside / "restic")
    if not (round_.outside / "restic").exists():
        round_.run(*base, "init", more=more)
    said = round_.run(*base, "backup", "--json", round_.bucket / "source", more=more)
    summary = json.loads(said.splitlines()[-1])
    return summary["files_new"], summary["files_changed"], summary["files_unmodified"]


def _borg_counts(round_: Round, name: str) -> tuple[int, int, int]:
    more = {"BORG_BASE_DIR": str(round_.outside / "b"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    repository = round_.outside / "borg"
    if not repository.exists():
        round_.run("borg", "init", "-e", "none", repository, more=more)
    done = round_.attempt("borg", "create", "--list", f"{repository}::{name}", round_.bucket / "source", more=more)
    if done.returncode:
        raise Failed(f"borg create: {done.stderr[-500:]}")
    marks = [line[0] for line in done.stderr.splitlines() if line[1:2] == " " and not line.endswith(NEWEST)]
    return marks.count("A"), marks.count("M"), marks.count("U")


_restic_counts.ask_version = ("version",)
_borg_counts.ask_version = ("--version",)

ROWS = (
    Row(
        "restic",
        "init, two backups, check --read-data, restore and diff, forget --prune, check again",
        restic,
        whole=True,
    ),
    Row("borg", "init, two archives, two writers at once, check --verify-data, extract and diff, compact, check", borg),
    Row(
        "rsync",
        "-aHAX --delete and --inplace, each twice, with changes between, then back; -nic (by checksum) after each",
        rsync,
    ),
    Row("tar", "an archive onto the mount, unpacked there, compared by tar -d and diff", tar, whole=True),
    Row("git", "clone, fsck --full, commit, switch branches, gc, fsck, push", git),
    Row("duplicity", "full, incr, verify --compare-data, restore and diff", duplicity),
    Row("rdiff-backup", "two backups, verify now and before, compare, restore the older and diff", rdiff_backup),
    Row("rsnapshot", "three snapshots with every link counted, changes, rotation into a week, diff", rsnapshot),
    Row("as-a-source", "restic and borg back the mount up: again, and after a hidden change", as_a_source),
)
