"""What close=queued promises, on a machine that has too much to do: how old is the oldest close that a kill can lose?

    python contrib/campaigns/closes.py [--kills N] [--busy N] [--seed N] [--tree FOLDER]

Beside N processes that only burn processor time, all of the lowest priority, two write and close files on a mount of
as low a priority; the server is killed (SIGKILL) after 1.5 to 3.5 s and started again, and each file is judged by how
long before the kill its close had returned. `--tree`: of another version, to compare with. Changes no page.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("evidence", "pjdfstest"))]

from kills_load import content, size_of, sync_folder  # noqa: E402 - the folders are on the path only now
from mounted import ServedMount  # noqa: E402
from served import ROOT  # noqa: E402

WRITERS, PRIORITY = 2, 19
AGES_MS = (50, 200, 500)  # limits between the rows of the result


def row_of(age_ms: float) -> str:
    """What a close of that age is counted with."""
    return next((f"under {limit} ms" for limit in AGES_MS if age_ms < limit), f"{AGES_MS[-1]} ms and more")


def one_kill(server: ServedMount, number: int, seconds: float, work: Path) -> list[tuple[float, bool]]:
    """Load, kill, start again; return the age of each close in ms, and whether its file is whole."""
    bucket = server.bucket(f"closes-{number}")
    logs: dict[Path, Path] = {}
    loads = []
    for writer in range(WRITERS):
        folder, log = bucket / str(writer), work / f"{number}-{writer}"
        folder.mkdir()
        logs[folder] = log
        command = [sys.executable, str(HERE / "kills_load.py"), "close", str(folder), str(log), str(writer * 100_000)]
        loads.append(subprocess.Popen(command))
    sync_folder(bucket)
    time.sleep(seconds)
    killed = time.monotonic_ns()
    assert server.process is not None
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    for load in loads:
        load.wait()
    server.start()
    return [each for folder, log in logs.items() if log.exists() for each in judged(folder, log, killed)]


def judged(folder: Path, log: Path, killed: int) -> list[tuple[float, bool]]:
    """As `one_kill`, of one writer."""
    found = []
    for line in log.read_text().splitlines():
        _, value, when = line.split(" ")
        path = folder / f"closed-{value}"
        whole = path.exists() and path.read_bytes() == content(path.name, size_of(int(value)))
        if int(when) <= killed:
            found.append(((killed - int(when)) / 1e6, whole))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=14)
    parser.add_argument("--busy", type=int, default=14)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--tree", type=Path, default=ROOT)
    given = parser.parse_args()
    dice, seen, lost = random.Random(given.seed), Counter[tuple[str, bool]](), []
    os.nice(PRIORITY)
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(given.busy)]
    try:
        with tempfile.TemporaryDirectory() as work, ServedMount(given.tree) as server:
            for number in range(given.kills):
                for age, whole in one_kill(server, number, dice.uniform(1.5, 3.5), Path(work)):
                    seen[row_of(age), whole] += 1
                    lost += [] if whole else [age]
    finally:
        for each in burning:
            each.kill()
            each.wait()
    for row in dict.fromkeys(map(row_of, (0, *AGES_MS))):
        print(f"{row:16} whole {seen[row, True]:6} lost {seen[row, False]:5}")
    print(f"the oldest that was lost was closed {max(lost, default=0):.0f} ms before its kill")
    return 0


if __name__ == "__main__":
    sys.exit(main())
