"""Real S3 servers of others, each a process of its own on loopback: moto, and `rclone serve s3`.

Room: tests. May import: stratum, tests.engine.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.sdk import sdk_client

ACCESS, SECRET = "access", "secretsecret"
KINDS = ("moto", "rclone")
BUCKET = "cold"
START_S = 30.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def command_of(kind: str, port: int, folder: Path) -> list[str]:
    if kind == "moto":
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    (folder / "data").mkdir()
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
    keys = f"{ACCESS},{SECRET}"
    return [rclone, "serve", "s3", "--auth-key", keys, "--addr", f"127.0.0.1:{port}", str(folder / "data")]


def client_of(url: str):
    return sdk_client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


class Servers:
    """Started when first asked for, stopped together."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._urls: dict[str, str] = {}

    def url(self, kind: str) -> str:
        """The URL of a server with the bucket `cold`."""
        if kind not in self._urls:
            self._urls[kind] = self._start(kind)
        return self._urls[kind]

    def close(self) -> None:
        self._stack.close()

    def _start(self, kind: str) -> str:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        log = self._stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(command_of(kind, port, folder), stdout=log, stderr=log, cwd=folder)
        self._stack.callback(_stop, process)
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + START_S
        client = client_of(url)
        self._stack.callback(client.close)
        while True:
            try:
                client.create_bucket(Bucket=BUCKET)
            except (BotoCoreError, ClientError) as error:
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError((folder / "log").read_text()) from error
                time.sleep(0.05)  # it is another process: there is nothing to wait for
            else:
                return url


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    process.wait()
