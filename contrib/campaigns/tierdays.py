"""Wishes, hours and figures of tiering on the real process, from outside: ten short days of three stores.

    python contrib/campaigns/tierdays.py [--day-seconds 30] [--only wishes|SIGTERM|SIGKILL] [--write]

Three mounted stores live side by side, with `rclone serve s3` as their cold tier: in one every word of a hint and every
pin is said by aws-cli, as a tag and as an attribute on the mount, and acts or not; two learn an hour, are ended by
SIGTERM and SIGKILL, and started again before it. Figures of `stratum tier report` and `export` are compared with what
clients did and with the moves seen. `--write`: these parts of docs/evidence/tiering-run.md. Ends with status 1 if
something was not as promised.
"""

import argparse
import datetime
import os
import platform
import sys
import tempfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import tierdays_figures as figures
import tierdays_hours as hours
import tierdays_wishes as wishes
from film import PAGE
from film import WISHES_PART as PART
from served import ROOT, commit_of
from tierdays_store import PRICES, Living

from tests.engine.s3_servers import ACCESS, SECRET, Servers

WISHES = "wishes"


def run(name: str, url: str, day_seconds: float):
    """One store's days: (wishes seen, words, figures), or hours seen."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        prices = PRICES if name == WISHES else hours.PRICES_HERE
        store = Living(folder, url, (ACCESS, SECRET), day_seconds, prices)
        stack.callback(store.served.close)
        if name != WISHES:
            return hours.live(store, name)
        one = wishes.Wishes(store)
        store.wait(0, 2)  # what is written while the evening of the day before runs counts as written on that day
        figures.furnish(store)
        seen = one.live(lambda day: figures.read(store, day))
        return seen, one.words, figures.check(store, [*one.keys, *figures.READ])


def wrong_of(found: dict) -> list[str]:
    """All that was not as promised."""
    wrong = []
    for name, each in found.items():
        wrong += [*each[0].wrong, *each[2].wrong] if name == WISHES else each.wrong
    return wrong


def page(found: dict, day_seconds: float) -> str:
    """The part of the page."""
    seen, told, checked = found[WISHES]
    lines = ["# Wishes, hours and figures, from outside", ""]
    lines += textwrap.wrap(
        f"`python contrib/campaigns/tierdays.py --day-seconds {day_seconds:g} --write`, {datetime.date.today()}, "
        f"commit {commit_of(ROOT)}, Linux {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} "
        f"cores, shared with others. Three mounted stores with hot, warm and cold tier at `rclone serve s3`, a day of "
        f"{day_seconds:g} s; prices made up, so that 2 MiB are worth moving. Not as promised: {len(wrong_of(found))}.",
        160, break_on_hyphens=False,
    )  # fmt: skip
    lines += ["", "## What users wish, by each door", ""]
    lines += textwrap.wrap(
        "Metadata: `aws s3 cp --metadata`; tag: `aws s3api put-object-tagging`; attribute: `user.stratum.hint` on the "
        "mount. An object each, of 2 MiB. `HINT`: without the hint it would be elsewhere; `PIN`, `SCHEDULE`: reasons "
        "of its last move; then what explain lists as wishes.", 160, break_on_hyphens=False,
    )  # fmt: skip
    lines += ["", *wishes.rows(seen, told), ""]
    lines += [
        f"Hours told of what was cold or warm; at 7:45 and at 8:59 of the first day behind it: {_hours_told(seen)}."
    ]
    lines += ["", "## An hour that comes back, and a restart before it", ""]
    lines += [
        "| ended by | on day | ready again | | 7:45 | 8:59 | moved at | explain says |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in hours.ENDINGS:
        one = found[name]
        day, hour = hours.ENDINGS[name]
        for key in hours.REPORTS + hours.OTHERS:
            done = f"{int(one.done[key])}:{int(one.done[key] % 1 * 60):02}" if one.done.get(key, -1) >= 0 else ""
            when = (
                f"{name} | {day} at {hour:.0f}:00 | in {one.ready:.1f} s, day {one.up_at[0]} at {one.up_at[1]:.0f}:00"
            )
            lines.append(f"| {when} | {key} | {one.early[key]} | {one.then[key]} | {done} | {one.told.get(key, '')} |")
    lines += [
        "",
        "Read at nine on days 1 to 3: `reports/endpoint` through S3, `reports/mount` through the mount; others never.",
        "",
    ]
    lines += [*_figures(checked)]
    return "\n".join(lines)


def _hours_told(seen: wishes.Seen) -> str:
    return "; ".join(f"`{key}` {early}, {then}" for key, (early, then) in sorted(seen.before.items()))


def _figures(checked: figures.Figures) -> list[str]:
    lines = ["## Do the figures add up?", ""]
    lines += [
        "| week to day | of the store | rent | reading | moving | moves | GB moved | reads | regret |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for week, mine in zip(checked.weeks, checked.mine, strict=True):
        names = ("rent", "reading", "moving", "moves", "gb_moved", "reads")
        for who, found, regret in (("told", week, f"{week['regret']:.3f}"), ("counted", mine, "")):
            cells = " | ".join(f"{found[name]:.6g}" for name in names)
            lines.append(f"| {week['last'] - checked.first} | {who} | {cells} | {regret} |")
    lines += [
        "",
        "Told: `stratum tier report --json`. Counted: from the moves that explain lists, what clients read, prices.",
        f"`stratum tier export`: {checked.volumes} volumes, {checked.reads} visits, {checked.swept} bytes of a backup;",
        "each object and day as clients made them (but bytes of the file on the mount, often cached).",
        "`stratum replay` of the two files:", "", "```", checked.replayed, "```", "",
    ]  # fmt: skip
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--day-seconds", type=float, default=30.0)
    parser.add_argument("--only", choices=(WISHES, *hours.ENDINGS))
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    names = [asked.only] if asked.only else [WISHES, *hours.ENDINGS]
    with ExitStack() as stack:
        servers = Servers()
        stack.callback(servers.close)
        url = servers.url("rclone")
        pool = stack.enter_context(ThreadPoolExecutor(len(names)))
        running = {name: pool.submit(run, name, url, asked.day_seconds) for name in names}
        found = {name: each.result() for name, each in running.items()}
    wrong = wrong_of(found)
    print(*wrong, sep="\n")
    if asked.write and not asked.only:
        PAGE.write_text(PAGE.read_text().partition(PART)[0] + PART + page(found, asked.day_seconds))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
