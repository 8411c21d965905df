"""A mounted store whose days are short, with dear disks and a cold tier at another S3 server; and its calendar.

Prices are made up, so that volumes of a few MiB are worth moving: a day of hot costs twice a day of warm, reading warm
costs something, reading cold a lot. Looks are through the mount (`user.stratum.tier`): no access.
"""

import datetime
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from film import MIB, client_of
from mounted import ServedMount
from served import ROOT

from stratum.engine.credentials import RootCredential
from stratum.serve.admin_client import AdminClient

BUCKET = "home"
PRICES = {  # per GB and month; reading, writing per GB; ms
    "hot": {"storage_usd_per_gb_month": 12.0, "write_usd_per_gb": 0.1, "first_byte_ms": 1.0},
    "warm": {
        "storage_usd_per_gb_month": 6.0, "retrieval_usd_per_gb": 2.0, "write_usd_per_gb": 1.0, "first_byte_ms": 12.0,
    },
    "cold": {
        "storage_usd_per_gb_month": 0.6, "retrieval_usd_per_gb": 10.0, "write_usd_per_gb": 0.5, "first_byte_ms": 150.0,
        "request_usd": 0.0, "move_in_usd_per_object": 0.0,
    },
}  # fmt: skip
COMMON = {"request_usd": 0.0, "move_in_usd_per_object": 0.0, "bandwidth_gb_per_s": 1.0}
WEEKDAYS = ("thu", "fri", "sat", "sun", "mon", "tue", "wed")  # day 0 of the epoch was a Thursday


def settings_of(warm: Path, url: str, keys: tuple[str, str], day_seconds: float, prices: dict[str, dict]) -> str:
    """The configuration beside hot disks and address. Keys of the remote go into the environment."""
    disks = [str(warm / str(slot)) for slot in range(4)]
    for disk in disks:
        Path(disk).mkdir(parents=True)
    priced = "".join(
        f"[tiering.price.{tier}]\n" + "".join(f"{name} = {value}\n" for name, value in {**COMMON, **found}.items())
        for tier, found in prices.items()
    )
    return (
        f'[tier.warm]\ndisks = {json.dumps(disks)}\ncode = "2+1"\n'
        f'[tier.cold.remote]\nbucket = "cold"\nendpoint_url = "{url}"\naccess_key_ref = "env:COLD_ACCESS"\n'
        'secret_key_ref = "env:COLD_SECRET"\naddressing = "path"\nallow_private = true\n'
        f'[tiering]\nday_seconds = {day_seconds}\ncheck_interval = "{day_seconds / 96:.3f}s"\n'
        f'[tiering.price]\nname = "dear disks"\nwaiting_usd_per_hour = 0\n{priced}'
        '[limits]\nreap_delay = "5s"\nreap_interval = "2s"\n'
    )


class Living:
    """One store, its days and what clients did on them. Days count from the first whole one, which is 0."""

    def __init__(
        self, folder: Path, url: str, keys: tuple[str, str], day_seconds: float, prices: dict[str, dict] = PRICES
    ) -> None:
        """`url`, `keys`: of the remote with the bucket `cold`; `folder`: for warm disks."""
        self.day_seconds, self.prices, self.keys = day_seconds, prices, keys
        self.served = ServedMount(ROOT, settings=settings_of(folder / "warm", url, keys, day_seconds, prices))
        self.served.mountpoint.mkdir(exist_ok=True)
        self.start()
        self.client = client_of(self.served)
        self.first, self.begun = 0, 0.0  # the day by the store's count, and when it began
        self.reads: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])  # key, day -> visits, bytes
        self.bodies: dict[str, bytes] = {}
        self._await_a_morning()
        self.served.bucket(BUCKET)

    def start(self) -> float:
        """Start it (again); return the seconds until it was ready."""
        seconds = self.served.start(COLD_ACCESS=self.keys[0], COLD_SECRET=self.keys[1])
        self._admin = AdminClient(
            self.served.endpoint.partition("://")[2], RootCredential(*self.served.root), "us-east-1"
        )
        self.client = client_of(self.served)
        return seconds

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Of the admin pages: what `stratum` itself asks, without the second that its start takes."""
        return self._admin.ask(method, path, body)

    # --- the clock ------------------------------------------------------------------------------------------

    def _await_a_morning(self) -> None:
        before = self.ask("GET", "tiers/deciding")["day"]
        while (day := self.ask("GET", "tiers/deciding")["day"]) == before:
            time.sleep(0.02)
        self.first, self.begun = day, time.time()

    @property
    def now(self) -> tuple[int, float]:
        """Day, and hour of it."""
        day, rest = divmod((time.time() - self.begun) / self.day_seconds, 1)
        return int(day), 24 * rest

    def wait(self, day: int, hour: float = 0.0) -> None:
        """Until then."""
        time.sleep(max(0.0, self.begun + (day + hour / 24) * self.day_seconds - time.time()))

    def day_of(self, time_ns: int) -> tuple[int, float]:
        """Day and hour of a time that the store tells."""
        day, rest = divmod((time_ns / 1e9 - self.begun) / self.day_seconds, 1)
        return int(day), 24 * rest

    def date(self, day: int) -> str:
        """As hints name it."""
        return str(datetime.date(1970, 1, 1) + datetime.timedelta(days=self.first + day))

    # --- clients --------------------------------------------------------------------------------------------

    def aws(self, *words: str) -> None:
        """Run aws-cli. Raises CalledProcessError."""
        program = str(Path(sys.executable).parent / "aws")
        environment = {**self.served.client_environment(), "AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": ""}
        subprocess.run([program, *words], check=True, env=environment, stdout=subprocess.DEVNULL)

    def body_of(self, key: str, size: int = 2 * MIB) -> bytes:
        """Its bytes: random ones, remembered."""
        return self.bodies.setdefault(key, os.urandom(size))

    def put(self, key: str) -> None:
        """By boto3."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=self.body_of(key))

    def get(self, key: str, *, bytes_range: tuple[int, int] | None = None, purpose: str = "") -> bool:
        """By boto3; are the bytes right? Noted as a read of today."""
        first, last = bytes_range or (0, len(self.bodies[key]) - 1)
        asked = {"Range": f"bytes={first}-{last}"} if bytes_range else {}
        if purpose:
            self.client.meta.events.register_first("before-sign.s3.GetObject", _with_purpose, unique_id="purpose")
        body = self.client.get_object(Bucket=BUCKET, Key=key, **asked)["Body"].read()
        if purpose:
            self.client.meta.events.unregister("before-sign.s3.GetObject", unique_id="purpose")
        else:
            self.note(key, visits=1, sent=len(body))
        return body == self.bodies[key][first : last + 1]

    def read_file(self, key: str) -> bool:
        """Through the mount; are the bytes right? How many come from the page cache nobody knows: not noted."""
        return self.path(key).read_bytes() == self.bodies[key]

    def note(self, key: str, *, visits: int, sent: int) -> None:
        """A read of today."""
        found = self.reads[key, self.now[0]]
        found[0] += visits
        found[1] += sent

    def path(self, key: str) -> Path:
        """On the mount."""
        return self.served.mountpoint / BUCKET / key

    # --- looking --------------------------------------------------------------------------------------------

    def tier(self, key: str) -> str:
        """Where it is: by the mount, which is no access."""
        return os.getxattr(self.path(key), "user.stratum.tier").decode()

    def explain(self, key: str, at_ns: int | None = None, *, by_command: bool = False) -> dict[str, Any]:
        """What `stratum explain --json` says of it (`by_command`: run it)."""
        at = "" if at_ns is None else f"{at_ns / 1e9:.6f}"
        if by_command:
            more = ["--at", at] if at else []
            return json.loads(self.served.tool("explain", f"s3://{BUCKET}/{key}", "--json", *more).stdout)
        return self.ask("POST", "tiers/explain", {"bucket": BUCKET, "key": key, "version": "", "at": at})

    def part(self, key: str, at_ns: int | None = None, *, by_command: bool = False) -> dict[str, Any]:
        """The one volume of an object, explained."""
        (found,) = self.explain(key, at_ns, by_command=by_command)["parts"]
        return found


def _with_purpose(request: Any, **_: object) -> None:
    request.headers["x-stratum-purpose"] = "backup"
