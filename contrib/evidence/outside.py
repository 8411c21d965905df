"""See Stratum work from outside, as a new user would: fresh clone, contrib/run.sh, ordinary clients.

Usage: contrib/evidence/outside.py [--tree DIR] [--steps 1,2,3,4,5] [--scale 1] [--output docs/evidence/outside.md]

Without --tree it makes a tree of its own: 8,000 regular files of this machine (trees.py).

Every check prints what it ran, what came out, how long it took. A check that fails makes the script exit 1 and says
so in the page it writes. Needs: aws (aws-cli), restic, borg, rsync, git, sqlite3; root for the mount.
"""

import argparse
import concurrent.futures
import datetime
import hashlib
import os
import platform
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import trees
from server import ROOT, Server

GIB = 1024**3
AWS = shutil.which("aws") or str(ROOT / ".venv-clients/bin/aws")
Row = tuple[str, str]  # what was done, what was seen


class Failed(Exception):
    """A check did not hold."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Failed(message)


class Evidence:
    """Runs steps against one server and collects rows."""

    def __init__(self, server: Server, tree: Path, *, scale: float = 1.0) -> None:
        """`scale` below 1: fewer repetitions, for a quick look."""
        self.server = server
        self.tree = tree
        self.scale = scale
        self.work = server.base / "work"
        self.work.mkdir(exist_ok=True)
        self.rows: list[Row] = []

    def times(self, count: int) -> int:
        """How often to repeat what a full run repeats `count` times."""
        return max(1, round(count * self.scale))

    def run(self, *command: str, env: dict | None = None, cwd: Path | None = None, say: str = "") -> str:
        """Run a client command, note how long it took, return its standard output."""
        begun = time.monotonic()
        done = subprocess.run(
            command, env=self.server.env() | (env or {}), cwd=cwd or self.work, capture_output=True, text=True
        )
        took = time.monotonic() - begun
        shown = " ".join(Path(word).name if word.startswith("/") else word for word in command)
        if done.returncode:
            raise Failed(f"`{shown}` ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
        self.note(f"`{shown}`", f"{say or 'exit 0'}, {took:.1f} s")
        return done.stdout

    def note(self, what: str, seen: str) -> None:
        print(f"  {what}: {seen}", flush=True)
        self.rows.append((what, seen))

    def aws(self, *words: str, say: str = "") -> str:
        return (
            self.run(AWS, "s3", *words, "--no-progress", say=say)
            if words[0] in ("cp", "sync")
            else self.run(AWS, "s3", *words, say=say)
        )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def same_trees(a: Path, b: Path) -> int:
    """Compare every sha256; return the number of files."""
    left, right = files_below(a), files_below(b)
    require(left.keys() == right.keys(), f"names differ: {sorted(left.keys() ^ right.keys())[:5]}")
    for name, path in left.items():
        require(sha256(path) == sha256(right[name]), f"{name} differs")
    return len(left)


def step_1(e: Evidence) -> None:
    """aws-cli with only the printed exports."""
    big = e.work / "big.bin"
    with big.open("wb") as file:
        for _ in range(e.times(64)):
            file.write(os.urandom(GIB // 64))
    size = f"{e.times(64) * 16:,} MiB"
    e.aws("mb", "s3://evidence-one")
    e.aws("cp", str(big), "s3://evidence-one/big.bin", say=f"{size} up, multipart")
    e.aws("cp", "s3://evidence-one/big.bin", str(e.work / "back.bin"), say=f"{size} down")
    require(sha256(big) == sha256(e.work / "back.bin"), f"{size} file differs")
    e.note(f"sha256 of the {size} file", "equal")
    (e.work / "back.bin").unlink()
    big.unlink()
    down = e.work / "down"
    e.aws("sync", str(e.tree), "s3://evidence-one/tree", "--only-show-errors", say="tree up")
    e.aws("sync", "s3://evidence-one/tree", str(down), "--only-show-errors", say="tree down")
    count = same_trees(e.tree, down)
    e.note("sha256 of every file of the tree", f"{count} files equal")
    listed = e.aws("ls", "--recursive", "s3://evidence-one/")
    require(len(listed.splitlines()) == count + 1, "ls --recursive has another count")
    e.aws("rm", "--recursive", "s3://evidence-one", "--only-show-errors")
    e.aws("rb", "s3://evidence-one")
    shutil.rmtree(down)


def step_2(e: Evidence) -> None:
    """The same tree through the mount, seen over S3, and the other way round."""
    bucket = e.server.mount / "evidence-two"
    bucket.mkdir()
    e.run("cp", "-a", str(e.tree), str(bucket / "tree"))
    e.run("diff", "-r", "--no-dereference", str(e.tree), str(bucket / "tree"), say="no difference")
    down = e.work / "down"
    e.aws("sync", "s3://evidence-two/tree", str(down), "--only-show-errors", say="tree down over S3")
    e.note("sha256 of every file, source and S3", f"{same_trees(e.tree, down)} files equal")
    keys = sorted(line.split(maxsplit=3)[3] for line in e.aws("ls", "--recursive", "s3://evidence-two/").splitlines())
    found = sorted(name for name in files_below(bucket))
    require(keys == found, f"S3 list and find differ: {sorted(set(keys) ^ set(found))[:5]}")
    e.note("list over S3 against `find` on the mount", f"{len(keys)} names equal")
    client = s3_client(e.server)
    for i in range(e.times(200)):
        body = os.urandom(100 + i)
        client.put_object(Bucket="evidence-two", Key=f"from-s3/{i % 20}", Body=body)
        require((bucket / f"from-s3/{i % 20}").read_bytes() == body, f"put {i} not seen in the mount")
        (bucket / "from-mount").write_bytes(body)
        seen = client.get_object(Bucket="evidence-two", Key="from-mount")["Body"].read()
        require(seen == body, f"write {i} not seen over S3")
    e.note(f"{e.times(200)} puts over S3 read from the mount, as many files over S3, no wait", "all equal")
    shutil.rmtree(down)
    e.run("rm", "-rf", str(bucket / "tree"))


def s3_client(server: Server):
    import boto3
    from botocore.config import Config

    env = server.credentials
    return boto3.session.Session().client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env.get("AWS_DEFAULT_REGION", "us-east-1"),
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )


def step_3(e: Evidence) -> None:
    """Backup tools, git and sqlite on the mount."""
    base = e.server.mount / "evidence-three"
    base.mkdir()
    secret = {"RESTIC_PASSWORD": "evidence", "BORG_PASSPHRASE": "evidence", "HOME": str(e.work)}
    secret |= {"BORG_BASE_DIR": str(e.work / "borg-base")}
    restic = ["restic", "-q", "-r", str(base / "restic")]
    e.run(*restic, "init", env=secret)
    e.run(*restic, "backup", str(e.tree), env=secret)
    e.run(*restic, "check", "--read-data", env=secret)
    e.run(*restic, "restore", "latest", "--target", str(e.work / "restic-out"), env=secret)
    count = same_trees(e.tree, e.work / "restic-out" / str(e.tree).lstrip("/"))
    e.note("restic restore against source", f"{count} files equal")
    repo = str(base / "borg")
    e.run("borg", "init", "-e", "repokey", repo, env=secret)
    e.run("borg", "create", f"{repo}::one", str(e.tree), env=secret)
    e.run("borg", "check", "--verify-data", repo, env=secret)
    (e.work / "borg-out").mkdir()
    e.run("borg", "extract", f"{repo}::one", env=secret, cwd=e.work / "borg-out")
    count = same_trees(e.tree, e.work / "borg-out" / str(e.tree).lstrip("/"))
    e.note("borg extract against source", f"{count} files equal")
    e.run("rsync", "-aH", "--delete", f"{e.tree}/", str(base / "rsync"))
    again = e.run("rsync", "-aH", "--delete", "-i", f"{e.tree}/", str(base / "rsync"))
    require(not again.strip(), f"the second rsync moved: {again[:300]}")
    e.note("second `rsync -aH --delete -i`", "moves nothing")
    e.run("git", "clone", "-q", str(ROOT), str(base / "repository"))
    e.run("git", "-C", str(base / "repository"), "fsck", "--full")
    _sqlite(e, base / "inserts.db")
    for name in ("restic-out", "borg-out"):
        shutil.rmtree(e.work / name)


def _sqlite(e: Evidence, path: Path) -> None:
    begun, inserts = time.monotonic(), e.times(10_000)
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("create table t (id integer primary key, body text)")
        for i in range(inserts):
            database.execute("insert into t (body) values (?)", (f"row {i} " + "x" * 50,))
        verdict = database.execute("pragma integrity_check").fetchone()[0]
        count = database.execute("select count(*) from t").fetchone()[0]
    require(verdict == "ok" and count == inserts, f"sqlite: {verdict}, {count} rows")
    e.note(f"sqlite3: {inserts:,} inserts, each its own transaction", f"integrity ok, {time.monotonic() - begun:.1f} s")


def step_4(e: Evidence) -> None:
    """Two of six disk folders deleted under load; they return empty."""
    client = s3_client(e.server)
    client.create_bucket(Bucket="evidence-four")
    bodies = {
        f"k{i}": os.urandom(random.Random(i).choice([100, 5_000, 200_000, 3_000_000])) for i in range(e.times(300))
    }
    for key, body in bodies.items():
        client.put_object(Bucket="evidence-four", Key=key, Body=body)
    loaded = e.times(400)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        load = [
            pool.submit(client.put_object, Bucket="evidence-four", Key=f"load{i}", Body=os.urandom(300_000))
            for i in range(loaded)
        ]
        time.sleep(0.3)
        for slot in (1, 4):
            _remove(e.server.data / "disks" / str(slot))
        e.note("rm -rf of disks/1 and disks/4 under load", "done")
        acknowledged = sum(1 for each in load if each.exception() is None)
    e.note(f"{loaded} PUTs while it happened", f"{acknowledged} acknowledged, {loaded - acknowledged} refused")
    _read_all(e, client, bodies, "with two disks gone")
    require(len(_paginate(client, "evidence-four")) >= len(bodies) + acknowledged, "acknowledged PUTs are missing")
    for i in range(loaded):
        if load[i].exception() is None:
            require(
                len(client.get_object(Bucket="evidence-four", Key=f"load{i}")["Body"].read()) == 300_000,
                "short",
            )
    e.note("everything acknowledged under load", "reads")
    shown = e.server.status()
    require(shown["state"] == "degraded", f"status says {shown['state']}")
    e.note("`stratum status`", f"{shown['state']}, {shown['redundancy']}")
    for slot in (1, 4):
        (e.server.data / "disks" / str(slot)).mkdir()
    begun = time.monotonic()
    last = None
    while shown["state"] != "healthy" and time.monotonic() - begun < 300:
        time.sleep(1)
        shown = e.server.status()
        left = shown["redundancy"]["shards_to_rebuild"]
        if left != last:
            e.note("`stratum status` on the way", f"{shown['state']}, {left} shards to rebuild")
        last = left
    require(shown["state"] == "healthy", f"not healthy after 300 s: {shown['redundancy']}")
    e.note("redundancy restored by itself", f"{time.monotonic() - begun:.0f} s after the empty folders came back")
    _read_all(e, client, bodies, "after the repair")


def _remove(folder: Path) -> None:
    """rm -rf, again while the server still writes into it (until it has noticed)."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    raise Failed(f"{folder} cannot be removed")


def _paginate(client, bucket: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [each["Key"] for page in pages for each in page.get("Contents", [])]


def _read_all(e: Evidence, client, bodies: dict[str, bytes], when: str) -> None:
    for key, body in bodies.items():
        require(client.get_object(Bucket="evidence-four", Key=key)["Body"].read() == body, f"{key} {when}")
    e.note(f"read all {len(bodies)} objects {when}", "equal")


def step_5(e: Evidence) -> None:
    """kill -9 during a parallel upload, ten times."""
    s3_client(e.server).create_bucket(Bucket="evidence-five")
    acknowledged: dict[str, str] = {}
    starts = []
    for round_number in range(e.times(10)):
        dice = random.Random(round_number)
        clients = [s3_client(e.server) for _ in range(8)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(_upload, client, f"r{round_number}/{i}", i) for i, client in enumerate(clients)]
            time.sleep(1 + dice.random() * 2)
            e.server.kill()
            for job in jobs:
                acknowledged |= job.result()
        starts.append(e.server.start())
        client = s3_client(e.server)
        for key, digest in acknowledged.items():
            body = client.get_object(Bucket="evidence-five", Key=key)["Body"].read()
            require(hashlib.sha256(body).hexdigest() == digest, f"{key} is not what was acknowledged")
    e.note(
        f"{e.times(10)} x kill -9 under 8 parallel uploads",
        f"{len(acknowledged)} acknowledged objects, all whole after each",
    )
    e.note("ready again after the kill", f"{min(starts):.1f} to {max(starts):.1f} s")


def _upload(client, prefix: str, seed: int) -> dict[str, str]:
    """Put objects of mixed sizes until the server is gone; return what was acknowledged."""
    dice, acknowledged = random.Random(seed), {}
    for i in range(200):
        body = os.urandom(dice.choice([500, 40_000, 400_000, 4_000_000]))
        try:
            client.put_object(Bucket="evidence-five", Key=f"{prefix}/{i}", Body=body)
        except Exception:
            break  # whatever the client makes of a server that died: it was not acknowledged
        acknowledged[f"{prefix}/{i}"] = hashlib.sha256(body).hexdigest()
    return acknowledged


STEPS: dict[str, Callable[[Evidence], None]] = {
    "1": step_1, "2": step_2, "3": step_3, "4": step_4, "5": step_5,
}  # fmt: skip


def page(results: list[tuple[str, str, list[Row]]], count: int, commit: str) -> str:
    lines = [
        "# Seen from outside",
        "",
        "Written by `contrib/evidence/outside.py`: a fresh clone, `contrib/run.sh`, ordinary clients with the printed",
        f"exports. {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {commit}, "
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}.",
        f"The source tree has {count} files.",
        "",
    ]
    for title, verdict, rows in results:
        lines += [f"## {title}", "", f"Verdict: **{verdict}**", "", "| what | seen |", "|---|---|"]
        lines += [f"| {what.replace('|', '/')} | {seen.replace('|', '/')} |" for what, seen in rows]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, help="a folder without links; default: one made for this run")
    parser.add_argument("--steps", default="1,2,3,4,5")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: fewer repetitions, for a quick look")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    server = Server()
    commit = server.commit()
    results = []
    tree = options.tree.resolve() if options.tree else server.base / "tree"
    try:
        if options.tree is None:
            trees.make_from_machine(tree, files=max(1, round(trees.FILES * options.scale)))
        print(f"first start: {server.start():.1f} s", flush=True)
        for number in options.steps.split(","):
            step = STEPS[number]
            evidence = Evidence(server, tree, scale=options.scale)
            print(f"step {number}: {step.__doc__}", flush=True)
            try:
                step(evidence)
                verdict = "holds"
            except Exception as error:
                traceback.print_exc()
                verdict = f"FAILS: {error}"
            results.append((f"{number}. {step.__doc__}", verdict, evidence.rows))
        code, took = server.stop()
        results.append(("SIGTERM", "holds" if code == 0 else "FAILS", [("exit", f"{code} after {took:.1f} s")]))
    finally:
        print(server.log.read_text(errors="replace")[-1500:] if server.log.exists() else "it never started")
        count = len(files_below(tree))
        server.close()
    text = page(results, count, commit)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    else:
        print(text)
    return 0 if all(verdict == "holds" for _, verdict, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
