"""The page docs/compatibility/backup.md, from what the rows said."""

import os
import platform
import textwrap
from typing import Any

from backup_round import Outcome

SHOWN = 600  # characters of a failure


def line(outcome: Outcome) -> str:
    """One row for the terminal."""
    compared = f"{outcome.agreement.objects} objects" if outcome.agreement else "-"
    seen = "; ".join(outcome.seen)
    return f"{outcome.name:<14} {outcome.seconds:7.1f} s  {compared:<15} {outcome.result[:3000]}  {seen}"


def page(found: Any, settings: Any, date: str, commit: str) -> str:
    """The page about one run."""
    done = [outcome for outcome in found.outcomes if not outcome.missing]
    held = sum(outcome.holds for outcome in done)
    absent = [outcome.name for outcome in found.outcomes if outcome.missing]
    head = (
        f"Written by `contrib/backup/run.sh`. {date}, commit {commit}, {os.cpu_count()} cores, Linux "
        f"{platform.release()}, one process with six disk folders on one {beside()} disk, mounted on loopback "
        f"(transport {found.transport}, `{found.mounted}`)."
    )
    verdict = f"**{held} of {len(done)} rows hold.** " + (
        f"Not installed here, and so not seen: {', '.join(absent)}." if absent else "Every program was there."
    )
    parts = [
        "# Backup programs and databases on the mount",
        _wrapped(head),
        _wrapped(verdict),
        _wrapped(
            "Each row works in a bucket of its own. Its last word is the program's own verification; then every object "
            "of the bucket is read over S3 and its SHA-256 compared with the file, the keys with what a walk of the "
            "mount finds, and `aws s3 sync` (both directions, with --delete, as a dry run) and `rclone check` must "
            "find no difference between mount and endpoint. restic and tar take a whole tree, the others a part of it."
        ),
        _table(found.outcomes),
        _wrapped(
            "After all rows the process was ended by SIGTERM "
            f"(exit code {found.exit_code}) and mounted again; every object once more through both doors: "
            f"**{found.after_remount}**."
        ),
        "## What was seen",
        "\n".join(f"- **{each.name}**: {'; '.join(each.seen)}." for each in found.outcomes if each.seen),
        NOTES,
        "## Commands",
        *(
            f"### {each.name}\n\n" + "\n".join(f"    {command}" for command in each.commands)
            for each in found.outcomes
            if each.commands
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _table(outcomes: list[Outcome]) -> str:
    lines = [
        "| program | version | what was done | result | seconds | objects equal | MB | no difference says |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        found = each.agreement
        compared = (
            (f"{found.objects:,}", f"{found.bytes / 1e6:,.0f}", ", ".join(found.said)) if found else ("-", "-", "-")
        )
        cells = (each.name, ", ".join(each.versions), each.did, _short(each.result), f"{each.seconds:.0f}", *compared)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(result: str) -> str:
    return result.replace("|", "\\|").replace("\n", " ")[:SHOWN]


def beside() -> str:
    """The file system that temporary folders are on."""
    import subprocess
    import tempfile

    done = subprocess.run(["df", "--output=fstype", tempfile.gettempdir()], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


NOTES = """\
Notes

- A symbolic link is an object over S3 that holds its target. aws and rclone follow links or leave them out, so what
  they say about a link is not counted; the comparison by SHA-256 includes every link.
- rclone compares MD5 where the ETag is one, and sizes where it is not (parts, files edited in place); the comparison
  by SHA-256 covers those too."""
