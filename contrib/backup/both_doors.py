"""Do the mount and S3 show the same? Every key, every byte, and what `aws s3 sync` and `rclone check` say.

Names: a file is its path, a symbolic link an object holding its target, an empty folder the key `folder/` of no bytes;
pipes, sockets and devices are hidden from S3. aws and rclone follow links (or leave them out), so what they say about
a link is not counted; the comparison of bytes here knows links.
"""

import concurrent.futures
import hashlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

READERS = 4
PIECE = 1 << 20
PROGRAM_S = 900


class Disagreement(Exception):
    """The two doors show different things."""


@dataclass(slots=True)
class Agreement:
    """What was compared."""

    objects: int = 0
    bytes: int = 0
    links: int = 0
    seconds: float = 0.0
    hashes_unchecked: int = 0  # by rclone: ETags that are not an MD5
    said: list[str] = field(default_factory=list)  # which programs found no difference


class Doors:
    """Both doors of one server: the mount point, and the environment of an S3 client."""

    def __init__(self, mountpoint: Path, environment: Mapping[str, str], *, aws: str | None, rclone: str | None):
        """`aws`, `rclone`: the programs, or None where they are not installed."""
        self.mountpoint, self.environment = mountpoint, dict(environment)
        self.aws, self.rclone = aws, rclone

    def make_bucket(self, name: str) -> Path:
        """Make a bucket as the mount does. Other users may enter: databases run as one."""
        path = self.mountpoint / name
        path.mkdir()
        path.chmod(0o755)
        return path

    def client(self):
        """A boto3 client of the endpoint."""
        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=READERS),
        )

    def compare(self, bucket: str, *, programs: bool = True) -> Agreement:
        """Compare one bucket through both doors. Raises Disagreement."""
        begun, found = time.monotonic(), Agreement()
        files = dict(walk(os.fsencode(self.mountpoint / bucket)))
        with closing(self.client()) as client:
            self._compare(client, bucket, files, found)
        links = {key for key, path in files.items() if not key.endswith("/") and os.path.islink(path)}
        found.links = len(links)
        if programs:
            self._ask_aws(bucket, links, found)
            self._ask_rclone(bucket, links, found)
        found.seconds = time.monotonic() - begun
        return found

    def _compare(self, client, bucket: str, files: dict[str, bytes], found: Agreement) -> None:
        """Keys against names, then every byte."""
        listed = list(keys_of(client, bucket))
        if listed != sorted(listed, key=str.encode):
            raise Disagreement("the listing is not in the order of bytes")
        if set(listed) != set(files) or len(listed) != len(files):
            raise Disagreement(
                f"keys differ: {len(listed)} over S3, {len(files)} in the mount; {sorted(set(listed) ^ set(files))[:5]}"
            )
        with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
            for size in pool.map(lambda key: same_bytes(client, bucket, key, files[key]), listed):
                found.objects += 1
                found.bytes += size

    def _ask_aws(self, bucket: str, links: set[str], found: Agreement) -> None:
        """Both directions of `aws s3 sync --dryrun` must have nothing to do."""
        if self.aws is None:
            return
        folder, url = str(self.mountpoint / bucket), f"s3://{bucket}"
        for source, target in ((folder, url), (url, folder)):
            done = self._run(self.aws, "s3", "sync", source, target, "--dryrun", "--no-follow-symlinks", "--delete")
            lines = [line for line in done.stdout.splitlines() if not _about(line, links)]
            if done.returncode or lines:
                raise Disagreement(f"aws s3 sync {source} {target}: {lines[:5]} {done.stderr[-500:]}")
        found.said.append("aws s3 sync, both ways")

    def _ask_rclone(self, bucket: str, links: set[str], found: Agreement) -> None:
        if self.rclone is None:
            return
        more = {
            "RCLONE_CONFIG": "",
            "RCLONE_CONFIG_STRATUM_TYPE": "s3",
            "RCLONE_CONFIG_STRATUM_PROVIDER": "Other",
            "RCLONE_CONFIG_STRATUM_ENV_AUTH": "true",
            "RCLONE_CONFIG_STRATUM_ENDPOINT": self.environment["AWS_ENDPOINT_URL"],
        }
        folder = str(self.mountpoint / bucket)
        done = self._run(
            self.rclone, "check", folder, f"stratum:{bucket}", "--skip-links", "--combined", "-", more=more
        )
        lines = [line for line in done.stdout.splitlines() if line[:2] != "= " and line[2:] not in links]
        if lines or (done.returncode and not links):
            raise Disagreement(f"rclone check: {lines[:5]} {done.stderr[-500:]}")
        for line in done.stderr.splitlines():
            if "hashes could not be checked" in line:
                found.hashes_unchecked = int(line.split("hashes could")[0].split()[-1])
        found.said.append("rclone check")

    def _run(self, *words: str, more: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        environment = {**self.environment, **(more or {})}
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=PROGRAM_S, check=False, errors="replace"
        )


def programs_that_compare(root: Path) -> tuple[str | None, str | None]:
    """aws and rclone: those of the environments of contrib/test.sh and contrib/clients, or of the system."""
    aws = os.environ.get("STRATUM_TEST_AWS") or shutil.which("aws")
    found = [root / f".clients/{name}/bin/rclone" for name in ("latest", "ci")]
    return aws, next((str(path) for path in found if path.exists()), shutil.which("rclone"))


def _about(line: str, links: set[str]) -> bool:
    """Is a line of aws about a symbolic link?"""
    return any(f"/{key} to " in line or line.endswith((f"/{key}", f" {key}")) for key in links)


def walk(folder: bytes, prefix: bytes = b"") -> Iterator[tuple[str, bytes]]:
    """(key, path) of everything S3 should show."""
    with os.scandir(folder) as found:
        entries = list(found)
    if not entries and prefix:
        yield os.fsdecode(prefix), folder
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path, prefix + entry.name + b"/")
        elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
            yield os.fsdecode(prefix + entry.name), entry.path


def keys_of(client, bucket: str) -> Iterator[str]:
    """Every key, as S3 lists them."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from (each["Key"] for each in page.get("Contents", []))


def same_bytes(client, bucket: str, key: str, path: bytes) -> int:
    """Compare one object with its file; return its size. Raises Disagreement."""
    seen, size = hashlib.sha256(), 0
    try:
        with closing(client.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            for piece in body.iter_chunks(PIECE):
                seen.update(piece)
                size += len(piece)
    except (BotoCoreError, ClientError, HTTPError) as error:
        raise Disagreement(f"{key} cannot be read over S3: {error}") from error
    if seen.digest() != digest_of(path):
        raise Disagreement(f"{key} has other bytes over S3 than in the mount")
    return size


def digest_of(path: bytes) -> bytes:
    """sha256 of what S3 should give for this path."""
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode):
        return hashlib.sha256().digest()
    if stat.S_ISLNK(mode):
        return hashlib.sha256(os.readlink(path)).digest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
