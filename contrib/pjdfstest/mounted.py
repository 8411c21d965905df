"""A real `stratumfs` for the suite: a fresh store of six disk folders, mounted in a temporary folder."""

import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evidence"))

from served import READY_WITHIN_S, Served

COMMAND = "from stratum.serve.mount_command import main; main()"


class ServedMount(Served):
    """One mount of one tree. Use as a context; `bucket()` makes a folder to work in."""

    def __init__(self, tree: Path, *, settings: str = "", options: str = "", address: str = "127.0.0.1:0") -> None:
        """`options`: words for -o, with commas between."""
        super().__init__(tree, settings=settings, address=address)
        self.mountpoint = self.base / "mnt"
        self.options = ["-o", options] if options else []

    def start(self, **more: str) -> float:
        """Mount it; return the seconds that took. `more`: environment variables."""
        begun, seen = time.monotonic(), self.log.stat().st_size if self.log.exists() else 0
        self.process = self.spawn(**more)
        while time.monotonic() - begun < READY_WITHIN_S:
            text = self.log.read_bytes()[seen:].decode(errors="replace")
            if found := re.search(r"^ready (?:s3=(\S+) )?.*mount=", text, re.MULTILINE):
                self.endpoint = found[1] or ""
                return time.monotonic() - begun
            if self.process.poll() is not None:
                raise RuntimeError(f"stratumfs ended with {self.process.returncode}:\n{text[-3000:]}")
            time.sleep(0.05)
        raise RuntimeError(f"the mount did not become ready:\n{self.log.read_text()[-3000:]}")

    def spawn(self, **more: str) -> subprocess.Popen:
        """Start the process and wait for nothing."""
        command = [sys.executable, "-c", COMMAND, "--config", str(self.config), *self.options, str(self.mountpoint)]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.base, env=self._environment() | more)

    def bucket(self, name: str) -> Path:
        """Make a bucket, as the mount does: a folder at its top."""
        path = self.mountpoint / name
        path.mkdir()
        return path

    def file_system(self) -> str:
        """The line of /proc/self/mounts about it, without the place."""
        lines = Path("/proc/self/mounts").read_text().splitlines()
        _, _, *rest = next(line for line in lines if f" {self.mountpoint} " in line).split(" ")
        return " ".join(rest[:2])

    def close(self) -> None:
        """End it, and never leave the mount behind or delete through it."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        if self.mountpoint.is_mount():
            subprocess.run(["umount", "-l", str(self.mountpoint)], check=True)
        super().close()
