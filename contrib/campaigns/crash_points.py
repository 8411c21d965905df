"""Cut the power before and after every step of every operation, and print a table of what was found.

    python contrib/campaigns/crash_points.py [--operations PREFIX ...] [--full] [--every N] [--jobs N] [--seed N]

By default each step is cut once, the three kinds of cut and the three states of the index taking turns; `--full` takes
all nine combinations. Ends with status 1 if any promise was broken; every failure is printed with what repeats it.
"""

import argparse
import itertools
import logging
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.engine.cases import INDEXES, Stage, cut_and_judge, rehearse
from tests.engine.crash import CHANCES, fast_folder
from tests.engine.operations import OPERATIONS


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", nargs="*", default=[""], help="only those whose names begin so")
    parser.add_argument("--full", action="store_true", help="every kind of cut with every state of the index")
    parser.add_argument("--every", type=int, default=1, help="only every n-th step")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def combinations(number: int, *, full: bool) -> list[tuple[str, tuple[str, ...]]]:
    if full:
        return [(chance, INDEXES) for chance in CHANCES]
    every = list(itertools.product(CHANCES, INDEXES))
    chance, index = every[number % len(every)]
    return [(chance, (index,))]


async def campaign(operation_number: int, settings: argparse.Namespace) -> Counter[str]:
    """Count what happened; "failed" counts broken promises."""
    operation = OPERATIONS[operation_number]
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        stage = await rehearse(operation, Path(folder))
        found["steps"] = len(stage.points)
        for at in range(1 + settings.seed % settings.every, len(stage.points) + 1, settings.every):
            for chance, indexes in combinations(at + settings.seed, full=settings.full):
                found += await one_case(stage, at, chance, indexes, settings.seed * 100_003 + at)
    return found


async def one_case(stage: Stage, at: int, chance: str, indexes: tuple[str, ...], seed: int) -> Counter[str]:
    found = Counter({"cuts": 1, "recoveries": len(indexes)})
    try:
        outcome = await cut_and_judge(stage, at, chance, indexes, seed)
    except Exception:
        print(f"FAILED: {stage.operation.name!r}, step {at} of {len(stage.points)}, {chance}, index {indexes}, {seed=}")
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        return found + Counter({"failed": 1})
    found["acknowledged" if outcome.acknowledged == len(stage.operation.steps) else "interrupted"] += 1
    return found


def work(job: tuple[int, argparse.Namespace]) -> tuple[int, Counter[str], float]:
    logging.disable(logging.CRITICAL)
    begun = time.monotonic()
    return job[0], trio.run(campaign, *job), time.monotonic() - begun


def main() -> int:
    settings = parse()
    chosen = [
        number
        for number, operation in enumerate(OPERATIONS)
        if any(operation.name.startswith(prefix) for prefix in settings.operations)
    ]
    columns = ("steps", "cuts", "recoveries", "interrupted", "acknowledged", "failed")
    print("| operation |", " | ".join(columns), "| seconds |")
    print("|---|" + "---|" * (len(columns) + 1))
    total: Counter[str] = Counter()
    with multiprocessing.get_context("spawn").Pool(settings.jobs) as pool:
        for number, found, seconds in pool.imap(work, [(number, settings) for number in chosen]):
            total += found
            print("|", OPERATIONS[number].name, "|", *(f"{found[name]} |" for name in columns), f"{seconds:.0f} |")
            sys.stdout.flush()
    print("| all |", *(f"{total[name]} |" for name in columns), "|")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
