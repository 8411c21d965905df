"""Other mounts to measure beside ours: an empty file system on pyfuse3, and what mounts a bucket over S3, if installed.

The latter mount a bucket of the same server, through its S3 endpoint, as they would one of any other.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
WITHIN_S = 20.0


def installed() -> list[str]:
    """Which of them there are, by name."""
    found = {"empty pyfuse3": sys.executable, "rclone mount": _program("rclone"), "s3fs": _program("s3fs")}
    return [name for name, program in found.items() if program]


@contextmanager
def mounted(name: str, folder: Path, endpoint: str, key: str, secret: str, bucket: str) -> Iterator[tuple[Path, int]]:
    """Mount it; yields (where, its process)."""
    place = folder / "mnt"
    place.mkdir()
    environment = dict(os.environ)
    if name == "empty pyfuse3":
        command = [sys.executable, str(HERE / "empty_mount.py"), str(place)]
    elif name == "rclone mount":
        keys = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": endpoint, "ACCESS_KEY_ID": key}
        environment |= {f"RCLONE_CONFIG_HERE_{word}": value for word, value in keys.items()}
        environment |= {"RCLONE_CONFIG_HERE_SECRET_ACCESS_KEY": secret, "RCLONE_CONFIG": "/dev/null"}
        cache = ["--vfs-cache-mode", "writes", "--cache-dir", str(folder / "cache")]
        command = [_program("rclone"), "mount", f"here:{bucket}", str(place), *cache]
    else:
        password = folder / "password"
        password.touch(0o600)
        password.write_text(f"{key}:{secret}\n")
        options = f"url={endpoint},use_path_request_style,passwd_file={password}"
        command = [_program("s3fs"), bucket, str(place), "-f", "-o", options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait(place, process, folder / "log")
        yield place, process.pid
    finally:
        if place.is_mount():
            subprocess.run(["umount", str(place)], check=False)
        if place.is_mount():
            subprocess.run(["umount", "-l", str(place)], check=True)
        try:
            process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(place: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    begun = time.monotonic()
    while not place.is_mount():
        if process.poll() is not None or time.monotonic() - begun > WITHIN_S:
            process.kill()
            raise RuntimeError(f"it did not mount:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _program(name: str) -> str:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or ""
