"""Drive today's S3 clients against a freshly started server and write docs/compatibility/clients.md.

Usage: contrib/clients/run.sh [--only NAME ...] [--no-report]; the header of run.sh says what it installs.
"""

import argparse
import datetime
import os
import platform
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evidence"))

from checks import CHECKS
from matrix import Check, Row, perform
from served import ROOT, Served, clone_of_head, commit_of

PAGE = ROOT / "docs/compatibility/clients.md"
TOOLS = ROOT / ".clients"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="clients whose names begin so; no report is written")
    parser.add_argument("--work-tree", action="store_true", help="test the files as they lie, not the last commit")
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--tools", type=Path, default=TOOLS, help="where run.sh installed the clients")
    return parser.parse_args()


def wanted(only: list[str] | None) -> list[Check]:
    return [check for check in CHECKS if not only or any(check.name.lower().startswith(n.lower()) for n in only)]


def run_all(settings: argparse.Namespace) -> tuple[list[Row], str]:
    """Every check against one server, some against one with TLS too; return the rows and the commit."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="stratum-clients-") as name:
        folder = Path(name)
        tree = ROOT if settings.work_tree or settings.only else clone_of_head(folder)
        checks = wanted(settings.only)
        with Served(tree) as server:
            rows += drive(server, checks, folder / "work", settings.tools)
        with Served(tree, settings="[s3.tls]\nself_signed = true\n") as server:
            if server.endpoint.startswith("https"):
                rows += drive(server, [check for check in checks if check.tls], folder / "work", settings.tools)
        return rows, commit_of(tree)


def drive(server: Served, checks: list[Check], folder: Path, tools: Path) -> Iterator[Row]:
    """Do the checks against one server, and say at once what came of each."""
    for check in checks:
        row = perform(check, server.client_environment(), folder, tools)
        print(f"{row.name:<20} {row.scheme:<5} {row.seconds:6.1f} s  {row.version:<50}  {row.result}", flush=True)
        yield row


def page(rows: list[Row], commit: str) -> str:
    """The page about one run."""
    when = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    held = sum(row.holds for row in rows)
    head = textwrap.fill(
        f"Written by `contrib/clients/run.sh`. {when}, commit {commit}, {os.cpu_count()} cores, Linux "
        f"{platform.release()}. Each client has the endpoint, an access key, a secret key and a region, and nothing "
        "else: no environment variable or setting that makes it behave otherwise than it does by default towards AWS. "
        f"Every row is a round trip whose bytes are compared. {held} of {len(rows)} hold.",
        120,
    )
    lines = ["| client | over | version | what was done | result | seconds |", "|---|---|---|---|---|---|"]
    for row in rows:
        result = row.result.replace("|", "\\|").replace("\n", " ")[:400]
        lines.append(f"| {row.name} | {row.scheme} | {row.version} | {row.did} | {result} | {row.seconds:.0f} |")
    commands = [
        f"### {row.name}, {row.scheme}\n\n" + "\n".join(f"    {command}" for command in row.commands)
        for row in rows
        if row.commands
    ]
    return "\n\n".join(["# Clients", head, "\n".join(lines), NOTES, "## Commands", *commands]) + "\n"


NOTES = """\
Notes

- aws-cli 2 is not on the package index of Python. Its S3 code is botocore with awscrt, and what differs by default is
  the checksum (CRC64NVME); that row is boto3 with awscrt doing so.
- boto3 makes presigned URLs twice, as it does by default (signature version 2 in us-east-1) and with version 4.
- s5cmd is a build of the sources just past 2.3.0, which says v0.0.0-dev of itself.
- `skip_*` in the Terraform backend turn off questions to services that are not S3 (STS, instance metadata); checksums
  and locking are as they come."""


def main() -> int:
    settings = parse()
    rows, commit = run_all(settings)
    if not (settings.only or settings.no_report):
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(rows, commit))
    return 0 if all(row.holds or row.result.startswith("not run") for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
