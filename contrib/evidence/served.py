"""A real `stratum serve` on loopback for campaigns and client runs: six disk folders, in a temporary folder."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "from stratum.serve.cli import main; main()"
READY_WITHIN_S = 60
STOP_WITHIN_S = 30


def free_port() -> int:
    """A port that nobody listens on right now, for a server that must come back under the same."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def commit_of(tree: Path) -> str:
    """The commit a tree stands at, with a note if files of the product differ from it."""
    git = ["git", "-C", str(tree)]
    name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "stratum", "stratumfs"], capture_output=True, text=True
    )
    return (name.stdout.strip() or "unknown") + (" with changes" if changed.stdout.strip() else "")


def clone_of_head(folder: Path) -> Path:
    """A clone of the last commit, so that what is measured is exactly what a commit names."""
    tree = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
    return tree


class Served:
    """One server of one tree; started and stopped as often as a campaign wants. Use as a context."""

    def __init__(self, tree: Path = ROOT, *, settings: str = "", address: str = "127.0.0.1:0") -> None:
        """`settings`: more TOML for its configuration; sections [store], [tier.hot] and [s3] are written here."""
        self.tree = tree
        self.base = Path(tempfile.mkdtemp(prefix="stratum-served-"))
        self.data = self.base / "data"
        self.log = self.base / "server.log"
        self.config = self.base / "stratum.toml"
        self.process: subprocess.Popen | None = None
        self.endpoint = ""
        disks = [self.base / "disks" / str(slot) for slot in range(6)]
        for disk in disks:
            disk.mkdir(parents=True)
        self.config.write_text(
            f'[store]\ndata = "{self.data}"\n[tier.hot]\ndisks = {json.dumps([str(disk) for disk in disks])}\n'
            f'[s3]\naddress = "{address}"\n{settings}'
        )

    def __enter__(self) -> "Served":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, **more: str) -> float:
        """Start it and wait for the line `ready`; return the seconds that took. `more`: environment variables."""
        begun, seen = time.monotonic(), self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-c", COMMAND, "serve", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.base, env=self._environment() | more
            )
        while time.monotonic() - begun < READY_WITHIN_S:
            text = self.log.read_bytes()[seen:].decode(errors="replace")
            if found := re.search(r"^ready s3=(https?://\S+)", text, re.MULTILINE):
                self.endpoint = found[1]
                return time.monotonic() - begun
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{text[-3000:]}")
            time.sleep(0.05)
        raise RuntimeError(f"the server did not become ready:\n{self.log.read_text()[-3000:]}")

    def _environment(self) -> dict[str, str]:
        """Nothing of whoever runs it: no credentials, no settings."""
        dropped = ("STRATUM_", "AWS_", "NOTIFY_")
        return {k: v for k, v in os.environ.items() if not k.startswith(dropped)} | {"PYTHONPATH": str(self.tree)}

    @property
    def root(self) -> tuple[str, str]:
        """Access key and secret key of the root credential."""
        text = (self.data / "credentials").read_text()
        found = dict(re.findall(r"^(\w+) = (\S+)$", text, re.MULTILINE))
        return found["aws_access_key_id"], found["aws_secret_access_key"]

    def client_environment(self) -> dict[str, str]:
        """The environment of a client: the four exports that the server's guide names, and nothing else of AWS."""
        kept: Mapping[str, str] = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        access, secret = self.root
        if self.endpoint.startswith("https"):  # whom to trust; every client has its own name for that
            kept = {**kept, **dict.fromkeys(("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), self.certificate)}
        return {
            **kept,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def certificate(self) -> str:
        """The self-signed certificate that it made in its data folder."""
        return str(next(path for pattern in ("*.pem", "*.crt") for path in sorted(self.data.rglob(pattern))))

    def tool(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the `stratum` command against this server. Raises RuntimeError if it fails and `check` is set."""
        command = [sys.executable, "-c", COMMAND, *arguments, "--config", str(self.config)]
        env = self._environment()
        if self.endpoint:  # the configuration may say "any free port"
            env["STRATUM_S3_ADDRESS"] = self.endpoint.partition("://")[2]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.base, env=env, check=False)
        if check and done.returncode:
            raise RuntimeError(f"stratum {' '.join(arguments[:2])}: {done.stdout}{done.stderr}")
        return done

    def resident_bytes(self, field: str = "VmRSS") -> int:
        """Memory of the process now (VmRSS) or at most so far (VmHWM), from /proc."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024

    def stop(self) -> int:
        """SIGTERM; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash of the process."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it and delete all it had."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.base, ignore_errors=True)
