"""A real Stratum for the evidence: a fresh clone, started by contrib/run.sh, in a folder of its own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 600  # the first start installs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One clone, one data folder, one mount point; started and stopped as often as a step wants."""

    def __init__(self, *, fresh: bool = True) -> None:
        """`fresh`: from a clone of the last commit, set up from nothing; else from this work tree."""
        self.base = Path(tempfile.mkdtemp(prefix="stratum-evidence-"))
        self.clone = self.base / "clone" if fresh else ROOT
        self.data = self.base / "data"
        self.mount = self.base / "mnt"
        self.log = self.base / "server.log"
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.credentials: dict[str, str] = {}
        if fresh:
            subprocess.run(["git", "clone", "-q", str(ROOT), str(self.clone)], check=True)

    def commit(self) -> str:
        """The commit under test."""
        command = ["git", "-C", str(self.clone), "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> float:
        """Start and wait for the line `ready`; return the seconds it took."""
        begun = time.monotonic()
        env = os.environ | {"STRATUM_STORE_DATA": str(self.data), "STRATUM_S3_ADDRESS": f"127.0.0.1:{self.port}"}
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.clone / "contrib/run.sh"), str(self.mount)],
                stdout=log,
                stderr=log,
                env=env,
                cwd=self.base,
            )
        while time.monotonic() - begun < READY_WITHIN_S:
            text = self.log.read_bytes()[seen:].decode(errors="replace")
            if re.search(r"^ready", text, re.MULTILINE):
                self.credentials |= dict(re.findall(r"export (AWS_\w+)=(\S+)", text))
                return time.monotonic() - begun
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{text[-3000:]}")
            time.sleep(0.05)
        raise RuntimeError("the server did not become ready")

    def kill(self) -> None:
        """SIGKILL, as a crash of the process."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """SIGTERM; return (exit code, seconds)."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        return code, time.monotonic() - begun

    def env(self) -> dict[str, str]:
        """The environment of a client: the printed exports and nothing else."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | self.credentials

    def status(self) -> dict:
        raw = self.tool("status", "--json")
        return json.loads(raw)

    def tool(self, *arguments: str) -> str:
        """Run the `stratum` command against this server."""
        env = self.env() | {"STRATUM_STORE_DATA": str(self.data), "STRATUM_S3_ADDRESS": f"127.0.0.1:{self.port}"}
        done = subprocess.run(
            [str(self.clone / ".venv/bin/stratum"), *arguments], env=env, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"stratum {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        subprocess.run(["umount", "-l", str(self.mount)], capture_output=True)
        shutil.rmtree(self.base, ignore_errors=True)
