"""Databases on the mount: SQLite with its write-ahead log, PostgreSQL with its data directory."""

import os
import pwd
import shutil
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

from backup_round import Failed, Round, Row, require

LOAD_S = 60
POSTGRES_USER = "postgres"
CLIENTS = 4


def sqlite(round_: Round) -> None:
    """A writer and readers at once on one file; then its own checks, and those of the sqlite3 program."""
    round_.versions.append(f"SQLite {sqlite3.sqlite_version}")
    file, count = round_.bucket / "bank.db", round_.times(3000)
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        mode = db.execute("pragma journal_mode=wal").fetchone()[0]
        require(mode == "wal", f"journal mode {mode}")
        db.execute("pragma synchronous=full")
        db.execute("create table account (id integer primary key, amount integer)")
        db.execute("create table moved (id integer primary key, note text)")
        db.executemany("insert into account values (?, 100)", [(n,) for n in range(100)])
        reader = Reader(file)
        reader.start()
        for n in range(count):
            db.execute("begin immediate")
            db.execute("update account set amount = amount - 1 where id = ?", (n % 100,))
            db.execute("update account set amount = amount + 1 where id = ?", ((n * 7 + 3) % 100,))
            db.execute("insert into moved values (?, ?)", (n, "x" * (n % 700)))
            db.execute("commit")
        reader.stop.set()
        reader.join()
        require(not reader.wrong, f"a reader saw {reader.wrong[:3]}")
        require(reader.seen > 0, "the reader saw nothing")
        require(db.execute("pragma integrity_check").fetchone()[0] == "ok", "integrity_check")
        require(db.execute("select count(*) from moved").fetchone()[0] == count, "rows are missing")
        db.execute("pragma wal_checkpoint(truncate)")
        db.execute("vacuum")
        require(db.execute("pragma integrity_check").fetchone()[0] == "ok", "integrity_check after vacuum")
    said = round_.run("sqlite3", file, "pragma integrity_check; select sum(amount) from account;").split()
    require(said == ["ok", "10000"], f"sqlite3 says {said}")
    round_.note(f"{count:,} transactions (synchronous=full), {reader.seen:,} consistent sums read meanwhile")


class Reader(threading.Thread):
    """Sums all accounts again and again, with a connection of its own: always the same sum."""

    def __init__(self, file: Path) -> None:
        super().__init__(daemon=True)
        self.file, self.stop, self.seen, self.wrong = file, threading.Event(), 0, []

    def run(self) -> None:
        with closing(sqlite3.connect(self.file, timeout=30)) as db:
            while not self.stop.wait(0.002):
                total = db.execute("select sum(amount) from account").fetchone()[0]
                self.seen += 1
                if total != 10_000:
                    self.wrong.append(total)


class Postgres:
    """One cluster whose data directory is on the mount. Run by another user: it refuses to be root."""

    def __init__(self, round_: Round) -> None:
        self.round = round_
        self.data = round_.bucket / "pgdata"
        self.sockets = round_.outside / "run"
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.bin = folders[-1] if folders else None
        self.user = POSTGRES_USER if os.geteuid() == 0 else ""
        for folder in (self.data, self.sockets):
            folder.mkdir()
            if self.user:
                shutil.chown(folder, *(pwd.getpwnam(self.user)[2:4]))
        self.data.chmod(0o700)
        for folder in (round_.outside, *round_.outside.parents):  # the other user passes through
            if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)

    def run(self, program: str, *words: str | Path, **more) -> str:
        found = self.round.find(program, *([self.bin] if self.bin else []))
        switched = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"] if self.user else []
        if not switched:
            return self.round.run(found, *words, cwd=self.sockets, **more)
        said = self.round.run(*switched, found, *words, cwd=self.sockets, **more)
        self.round.commands[-1] = self.round.shown([found, *map(str, words)])
        return said

    def start(self) -> None:
        settings = f"-c listen_addresses= -c unix_socket_directories={self.sockets} -c shared_buffers=32MB"
        self.run("pg_ctl", "-D", self.data, "-l", self.sockets / "log", "-w", "-t", "120", "-o", settings, "start")

    def stop(self, mode: str) -> None:
        self.run("pg_ctl", "-D", self.data, "-w", "-t", "120", "-m", mode, "stop")

    def query(self, text: str) -> str:
        return self.run("psql", "-h", self.sockets, "-XAtqc", text, "bench").strip()


def postgres(round_: Round) -> None:
    """pgbench, pg_amcheck, an immediate stop under load with the recovery that follows, pg_amcheck, pg_checksums."""
    try:
        server = Postgres(round_)
    except KeyError as error:
        raise Failed(f"no user {POSTGRES_USER}") from error
    round_.version(round_.find("postgres", *([server.bin] if server.bin else [])), "--version")
    server.run("initdb", "-k", "-A", "trust", "-D", server.data)
    server.start()
    try:
        _bench_and_crash(round_, server)
    finally:
        if (server.data / "postmaster.pid").exists():
            server.stop("fast")
    server.run("pg_checksums", "--check", "-D", server.data)


def _bench_and_crash(round_: Round, server: Postgres) -> None:
    there, seconds = ("-h", str(server.sockets)), str(round_.times(LOAD_S))
    server.run("createdb", *there, "bench")
    server.run("pgbench", "-q", "-i", "-s", str(round_.times(5)), *there, "bench")
    said = server.run("pgbench", "-c", str(CLIENTS), "-j", "2", "-T", seconds, "-P", "30", *there, "bench")
    figures = {line.split("=")[0].strip(): line.partition("= ")[2] for line in said.splitlines() if "=" in line}
    round_.note(f"pgbench -T {seconds}: {figures.get('tps', '?').split(' ')[0]} transactions/s with {CLIENTS} clients")
    balanced(server)
    server.run("psql", *there, "-XAtqc", "create extension amcheck", "bench")
    server.run("pg_amcheck", *there, "--heapallindexed", "bench")
    known, recovered = stopped_under_load(round_, server)
    server.run("pg_amcheck", *there, "--heapallindexed", "bench")
    balanced(server)
    round_.note(
        f"immediate stop under load: {known:,} acknowledged rows, all there after {recovered:.1f} s of recovery"
    )


def balanced(server: Postgres) -> None:
    """What pgbench keeps equal in every transaction."""
    sums = server.query(
        "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), "
        "(select sum(bbalance) from pgbench_branches), (select coalesce(sum(delta), 0) from pgbench_history)"
    ).split("|")
    require(len(set(sums)) == 1, f"the sums differ: {sums}")


def stopped_under_load(round_: Round, server: Postgres) -> tuple[int, float]:
    """`pg_ctl stop -m immediate` while rows are being written; every acknowledged one must come back."""
    server.query("create table told (id bigint primary key, note text)")
    told = round_.outside / "told"
    writing = threading.Thread(target=_tell, args=(server, told), daemon=True)
    bench = threading.Thread(target=_load, args=(server,), daemon=True)
    writing.start()
    bench.start()
    time.sleep(max(3, round_.times(10)))
    server.stop("immediate")
    writing.join(60)
    bench.join(60)
    acknowledged = {int(line) for line in told.read_text().splitlines() if line}
    begun = time.monotonic()
    server.start()
    took = time.monotonic() - begun
    there = {int(line) for line in server.query("select id from told").splitlines() if line}
    require(acknowledged <= there, f"acknowledged and lost: {sorted(acknowledged - there)[:5]}")
    require(len(acknowledged) > 0, "nothing was acknowledged before the stop")
    return len(acknowledged), took


def _tell(server: Postgres, told: Path) -> None:
    """Insert numbered rows, and print each number once its commit is acknowledged."""
    text = "\n".join(f"insert into told values ({n}, repeat('x', {n % 900})) returning id;" for n in range(100_000))
    psql = server.round.find("psql", *([server.bin] if server.bin else []))
    with told.open("w") as out:
        subprocess.run(
            [psql, "-h", str(server.sockets), "-U", server.user or pwd.getpwuid(os.geteuid())[0], "-XAtq", "bench"],
            input=text,
            text=True,
            stdout=out,
            stderr=subprocess.DEVNULL,
            env=server.round.environment(),
            timeout=300,
            check=False,
        )


def _load(server: Postgres) -> None:
    try:
        server.run("pgbench", "-n", "-c", "2", "-T", "60", "-h", str(server.sockets), "bench")
    except Failed:
        pass  # the server was stopped under it, as meant
    finally:
        server.round.commands[:] = [each for each in server.round.commands if "-n -c 2 -T 60" not in each]


ROWS = (
    Row("sqlite", "WAL with a writer and a reader, integrity_check, checkpoint, vacuum, the sqlite3 program", sqlite),
    Row(
        "postgres",
        "initdb, pgbench, pg_amcheck, immediate stop under load and crash recovery, pg_amcheck, pg_checksums",
        postgres,
    ),
)
