"""Rates of the mount on both transports, in turns in the same run, beside the local disk and other mounts.

Usage: contrib/bench/mount.py [--small N] [--rounds N] [--large MIB] [--references N] [--output docs/performance.md]
                              [--json FILE]

Others are an empty file system on pyfuse3 (what this machine gives to any file system in Python), and rclone and s3fs
where they are installed, on a bucket of the same server. They get a fraction of the work, for they take their time.

Needs root. Everything it makes is removed at the end. Each number is the best of its rounds: on a shared machine the
rest of them measures the others. Read the ratios, and on a busy machine what each costs the server in processor time.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), *(str(ROOT / "contrib" / folder) for folder in ("bench", "evidence", "pjdfstest"))]
import mount_references  # noqa: E402 - the folders are on the path only now
from mounted import ServedMount  # noqa: E402
from served import commit_of  # noqa: E402

MIB = 1024**2
TRANSPORTS = ("raw", "pyfuse3")
BEGIN, END = "<!-- begin: contrib/bench/mount.py -->", "<!-- end: contrib/bench/mount.py -->"
TICKS = os.sysconf("SC_CLK_TCK")
Rates = dict[str, tuple[float, float]]  # what -> (a second; us of the server's processor time each)


class Meter:
    """Measures pieces of work, and what they cost the process that serves them; 0: nobody does."""

    def __init__(self, process: int) -> None:
        self.process = process
        self.found: Rates = {}

    def measure(self, name: str, count: float, work: Callable[[], object]) -> None:
        spent, begun = self._spent(), time.perf_counter()
        work()
        seconds = time.perf_counter() - begun
        self.found[name] = count / seconds, (self._spent() - spent) / count * 1e6

    def _spent(self) -> float:
        """Seconds of processor time, of user and kernel (proc(5))."""
        if not self.process:
            return 0.0
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def create(folder: Path, name: str, body: bytes, *, sync: bool) -> None:
    fd = os.open(folder / name, os.O_CREAT | os.O_WRONLY)
    os.write(fd, body)
    if sync:
        os.fsync(fd)
    os.close(fd)


def write_large(path: Path, block: bytes, count: int) -> None:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    for _ in range(count):
        os.write(fd, block)
    os.fsync(fd)
    os.close(fd)


def read_large(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    while os.read(fd, MIB):
        pass
    os.close(fd)


def read_small(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.read(fd, 4096)
    os.close(fd)


def forget() -> None:
    """Have the kernel forget names and attributes (not pages: the disk of the store is not to be measured)."""
    Path("/proc/sys/vm/drop_caches").write_text("2\n")


def measure(folder: Path, small: int, large: int, process: int = 0) -> Rates:
    """Rates of one file system."""
    folder.mkdir()
    body, block = os.urandom(4096), os.urandom(MIB)
    names = [folder / f"f{i}" for i in range(small)]
    synced, megabytes = small // 4, large * MIB / 1e6
    meter = Meter(process)
    run = meter.measure
    run("create + write 4 KiB + close, /s", small, lambda: [create(folder, n.name, body, sync=False) for n in names])
    run("the same with fsync, /s", synced, lambda: [create(folder, f"s{i}", body, sync=True) for i in range(synced)])
    run("stat of a missing name, /s", small, lambda: [os.path.exists(f"{name}missing") for name in names])
    forget()
    run("stat, cold cache, /s", small, lambda: [os.stat(name) for name in names])
    run("open + read 4 KiB + close, /s", small, lambda: [read_small(name) for name in names])
    run("rename, /s", small, lambda: [os.rename(name, f"{name}-") for name in names])
    run("write(2) of 4 KiB, /s", small * 2, lambda: write_large(folder / "little", body, small * 2))
    run("sequential write + fsync, MB/s", megabytes, lambda: write_large(folder / "large", block, large))
    forget()
    run("sequential read, cold cache, MB/s", megabytes, lambda: read_large(folder / "large"))
    shutil.rmtree(folder)
    return meter.found


def best(rounds: list[Rates]) -> Rates:
    """The fastest round, and the cheapest, of each."""
    return {
        name: (max(found[name][0] for found in rounds), min(found[name][1] for found in rounds)) for name in rounds[0]
    }


def measure_reference(name: str, small: int, large: int) -> Rates:
    """Rates of another mount."""
    with ServedMount(ROOT) as server, tempfile.TemporaryDirectory() as folder:
        server.bucket("other")
        key, secret = server.root
        with mount_references.mounted(name, Path(folder), server.endpoint, key, secret, "other") as (place, process):
            return measure(place / "files", small, large, process)


def render(local: Rates, mounts: dict[str, Rates], others: dict[str, Rates], rounds: int) -> str:
    lines = [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {commit_of(ROOT)}, {os.cpu_count()} cores, "
        f"Linux {platform.release()}, load {os.getloadavg()[0]:.1f}; best of {rounds}, in turns.",
        "",
        "| what | local disk | raw | pyfuse3 | raw to pyfuse3 | processor time each, raw | pyfuse3 |"
        + "".join(f" {name} |" for name in others),
        "|---|---|---|---|---|---|---|" + "---|" * len(others),
    ]
    for name, (here, _) in local.items():
        (ours, cost), (theirs, their_cost) = (mounts[transport][name] for transport in TRANSPORTS)
        line = f"| {name} | {here:,.0f} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} "
        line += f"| {cost:,.0f} us | {their_cost:,.0f} us |"
        lines.append(line + "".join(f" {found[name][0]:,.0f} |" for found in others.values()))
    return "\n".join(lines)


def write_page(path: Path, table: str) -> None:
    """Replace the generated part of the page, or add it."""
    text = path.read_text()
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n## The mount on both transports\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=2000, help="how many small files")
    parser.add_argument("--large", type=int, default=512, help="MiB of the large file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--references", type=int, default=10, help="the part of the work that others get; 0: none")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    local: list[Rates] = []
    mounts: dict[str, list[Rates]] = {transport: [] for transport in TRANSPORTS}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            local.append(measure(Path(folder) / "files", options.small, options.large))
        for transport in TRANSPORTS if number % 2 == 0 else reversed(TRANSPORTS):
            with ServedMount(ROOT, options=f"transport={transport}", address="none") as server:
                mounts[transport].append(
                    measure(server.bucket("bench") / "files", options.small, options.large, server.process.pid)
                )
    found = best(local), {transport: best(rounds) for transport, rounds in mounts.items()}
    part = options.references
    others = {
        name: measure_reference(name, max(options.small // part, 40), max(options.large // part, 16))
        for name in (mount_references.installed() if part else ())
    }
    table = render(*found, others, options.rounds)
    print(table)
    if options.output:
        write_page(options.output, table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
