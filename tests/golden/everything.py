"""The golden store of format 0.2: one of everything that 0.2 keeps, and how to read it back.

Room: tests. May import: stratum, tests.engine, tests.fakes, tests.golden.

What is described are records by the names of their fields, so that a field that a later version appends (records.py R2)
does not count as a difference; and every byte of every object, opened as a client would.
"""

import base64
import hashlib
import json
import random
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from stratum.core import (
    access_log,
    acl,
    cors,
    encryption,
    intelligent_tiering,
    inventory,
    lifecycle,
    locks,
    notification,
    policy,
    public_access,
    replication,
    tagging,
    website,
)
from stratum.core.config import Limits, NotifyTarget, Settings, WarmTier
from stratum.core.encryption import SSE_C, SSE_KMS, SSE_S3, CustomerKey, SealSpec
from stratum.core.errors import NotDelivered
from stratum.core.lifecycle_due import Due
from stratum.core.objects import PartName, PutSpec, UploadSpec, VersionQuery
from stratum.core.principals import OPERATOR
from stratum.core.records import Acl, Bucket, Credential, Event, Grant, NamedKey, Part, Retention, Upload, User, Version
from stratum.core.schema import (
    BUCKET,
    CONFIGURATION,
    CREDENTIAL,
    DUE,
    EVENT,
    NAMED_KEY,
    NULL_VERSION,
    PART,
    UPLOAD,
    UPLOAD_BY_KEY,
    USER,
    VERSION,
)
from stratum.core.tiering.settings import KIND as TIERING
from stratum.core.tiering.settings import BucketTiering
from stratum.core.txn import scan_records
from stratum.engine.credentials import KeyPair
from stratum.engine.engine import Engine, open_engine
from stratum.store.guarded import Guarded
from tests.engine.conftest import MASTERS, ROOT, Clock, read_all
from tests.engine.operations import Body
from tests.engine.tiered import CLASSES, move
from tests.fakes.backend import FakeBackend

ADDED = "added"  # name of the folder of a disk that was added
COLD = "cold.json"  # what the remote backend of the golden store holds
SECRET = b"a customer's key, for tests only"
CUSTOMER = CustomerKey(SECRET, base64.b64encode(hashlib.md5(SECRET).digest()).decode())
YEAR = 365 * 86_400 * 10**9
UNTIL = 1_700_000_000 * 10**9 + 40 * YEAR
TARGET = NotifyTarget(name="hook", url="http://192.0.2.1/")
KINDS = {
    acl.KIND: acl.Ownership,
    public_access.KIND: public_access.PublicAccessBlock,
    policy.KIND: policy.PolicyText,
    cors.KIND: cors.CorsRules,
    website.KIND: website.Website,
    tagging.KIND: tagging.BucketTags,
    locks.KIND: locks.ObjectLock,
    encryption.KIND: encryption.Encryption,
    lifecycle.KIND: lifecycle.LifecycleRules,
    access_log.KIND: access_log.Logging,
    notification.KIND: notification.Notifications,
    intelligent_tiering.KIND: intelligent_tiering.TieringConfigurations,
    inventory.KIND: inventory.Inventories,
    replication.KIND: replication.Replication,
    replication.RESYNC: replication.Resync,
    TIERING: BucketTiering,
}
TABLES = {
    BUCKET: Bucket,
    CREDENTIAL: Credential,
    USER: User,
    NAMED_KEY: NamedKey,
    EVENT: Event,
    DUE: Due,
    VERSION: Version,
    NULL_VERSION: int,
    UPLOAD: Upload,
    UPLOAD_BY_KEY: int,
    PART: Part,
}
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::kinds/public/*"},
            {
                "Effect": "Allow",
                "Principal": {"Service": "logging.s3.amazonaws.com"},
                "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::kinds/*",
            },
        ],
    }
)
IDENTITY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})


def bytes_of(size: int, seed: object = 0) -> bytes:
    """The same bytes for the same arguments; they repeat, so that the archive is small."""
    block = random.Random(f"{size}/{seed}").randbytes(200)
    return (block * (size // len(block) + 1))[:size]


def added_disk(settings: Settings) -> Path:
    """Where the disk that 0.3 adds by command is."""
    return Path(settings.data).parent / "disks" / ADDED


class Silent:
    """A sender to nobody: events stay where they are."""

    async def send(self, target, body):
        raise NotDelivered("nobody there")

    async def aclose(self):
        return None


def settings_for(folder: Path, limits: Limits) -> Settings:
    """Six hot disks, and one that was added if it was; four warm ones with 2+1, a cold backend."""
    disks = tuple(folder / "disks" / str(slot) for slot in range(6))
    more = folder / "disks" / ADDED
    return Settings(
        data=folder / "data",
        disks=(*disks, more) if more.is_dir() else disks,
        warm=WarmTier(disks=tuple(folder / "warm" / str(slot) for slot in range(4)), k=2, parity=1),
        storage_classes=CLASSES,
        notify=(TARGET,),
        limits=limits,
    )


@asynccontextmanager
async def opened(folder: Path, limits: Limits, clock=None, cold: FakeBackend | None = None):
    """An engine on the store in `folder`, with what its backend held."""
    backend = cold or FakeBackend()
    if cold is None:
        restore_cold(backend, folder / COLD)
    settings = settings_for(folder, limits)
    guarded = Guarded(backend, limits, chance=lambda: 0.0)
    async with open_engine(settings, root=ROOT, now_ns=clock or Clock(), masters=MASTERS, cold=[guarded]) as engine:
        engine.notifying.sender = Silent()
        yield engine


def keep_cold(backend: FakeBackend, path: Path) -> None:
    held = {key: [base64.b64encode(row[0]).decode(), row[1].hex(), row[2]] for key, row in backend.objects.items()}
    path.write_text(json.dumps(held))


def restore_cold(backend: FakeBackend, path: Path) -> None:
    for key, (content, digest, store) in json.loads(path.read_text()).items():
        backend.objects[key] = base64.b64decode(content), bytes.fromhex(digest), store, 0.0


async def fill(engine: Engine) -> None:
    """All that 0.1 did not know."""
    await engine.users.create("Dana", user="dana", email="dana@example.org")
    await engine.users.create("Eve", user="eve", account="dana")
    await engine.users.put_policy("eve", "all", IDENTITY)
    await engine.credentials.create("laptop", user="dana", pair=KeyPair("DANAKEY", "dana-secret-key"))
    await engine.keys.create("invoices")
    await _versions(engine)
    await _locked(engine)
    await _sealed(engine)
    await _kinds(engine)
    await _tiers(engine)


async def _versions(engine: Engine) -> None:
    await engine.buckets.create(
        "versions", "dana", acl=Acl((Grant("id:dana", "FULL_CONTROL"), Grant("id:eve", "READ")))
    )
    await engine.objects.put("versions", b"k", Body(b"null version"), PutSpec())
    await _versioning(engine, "versions", "Enabled")
    for text in (b"one", b"two"):
        await engine.objects.put("versions", b"k", Body(text), PutSpec(tags={"text": text.decode()}, owner="eve"))
    await engine.objects.delete("versions", b"k")
    grants = Acl((Grant("id:dana", "FULL_CONTROL"), Grant("group:AllUsers", "READ")))
    await engine.objects.put("versions", b"shared", Body(bytes_of(9000)), PutSpec(acl=grants, owner="dana"))
    await _versioning(engine, "versions", "Suspended")
    await engine.objects.put("versions", b"after", Body(b"null again"), PutSpec(tags={"a": "1", "\u00e9": "\u00e8"}))


async def _versioning(engine: Engine, bucket: str, state: str) -> None:
    await engine.buckets.amend(bucket, lambda record: msgspec.structs.replace(record, versioning=state))


async def _locked(engine: Engine) -> None:
    await engine.buckets.create("locked", "dana", lock=True, told={locks.KIND: locks.ObjectLock("GOVERNANCE", 1)})
    for mode in ("GOVERNANCE", "COMPLIANCE"):
        spec = PutSpec(retention=Retention(mode, UNTIL), legal_hold=mode == "COMPLIANCE")
        await engine.objects.put("locked", mode.encode(), Body(bytes_of(5000, mode)), spec)
    await engine.objects.put("locked", b"by default", Body(b"kept"), PutSpec())


def seals() -> dict[str, SealSpec]:
    """How the objects of `sealed` were encrypted, by the beginning of their keys."""
    return {
        "s3": SealSpec(scheme=SSE_S3, bucket_key=True),
        "kms": SealSpec(scheme=SSE_KMS, key_id="invoices", context="eyJhIjoiYiJ9"),
        "c": SealSpec(scheme=SSE_C, customer=CUSTOMER),
    }


async def _sealed(engine: Engine) -> None:
    await engine.buckets.create("sealed", "dana", told={encryption.KIND: encryption.Encryption(SSE_S3)})
    for name, seal in seals().items():
        for size in (0, 100, 6000, 20_000):
            key = f"{name}/{size}".encode()
            await engine.objects.put("sealed", key, Body(bytes_of(size, name)), PutSpec(seal=seal))
        for key in (f"{name}/parts".encode(), f"{name}/under way".encode()):
            upload = await engine.uploads.create("sealed", key, UploadSpec(seal=seal, tags={"t": name}, owner="eve"))
            parts = []
            for number in (1, 3):
                body = Body(bytes_of(6000, f"{name}{number}"))
                part = await engine.uploads.part("sealed", key, upload, number, body, customer=seal.customer)
                parts.append(PartName(number=number, etag=part.etag))
            if key.endswith(b"parts"):
                await engine.uploads.complete("sealed", key, upload, parts, customer=seal.customer)
    await engine.keys.rotate("invoices")


def configurations() -> dict[str, object]:
    """One of every kind."""
    rule = lifecycle.Rule("old", enabled=True, prefix="tmp/", tags={"a": "b"}, days=9000, noncurrent_days=9000, newer=3)
    later = lifecycle.Transition("STANDARD_IA", days=9000)
    moved = lifecycle.Rule("moved", enabled=True, larger=10, abort_days=9000, transitions=(later,))
    archive = intelligent_tiering.ArchiveTier("ARCHIVE_ACCESS", 90)
    return {
        acl.KIND: acl.Ownership(acl.WRITER),
        public_access.KIND: public_access.PublicAccessBlock(block_public_acls=True),
        policy.KIND: policy.PolicyText(POLICY),
        cors.KIND: cors.CorsRules((cors.CorsRule(("https://*.example.org",), ("GET",), ("*",), ("ETag",), 60, "r"),)),
        website.KIND: website.Website(
            "index.html", "error.html", rules=(website.RoutingRule("old/", key_prefix="new/"),)
        ),
        tagging.KIND: tagging.BucketTags({"cost": "center"}),
        locks.KIND: locks.ObjectLock(),
        encryption.KIND: encryption.Encryption(SSE_KMS, "invoices", bucket_key=True),
        lifecycle.KIND: lifecycle.LifecycleRules((rule, moved)),
        intelligent_tiering.KIND: intelligent_tiering.TieringConfigurations(
            {
                "it": intelligent_tiering.TieringConfiguration(
                    enabled=True, tiers=(archive,), prefix="a", tags={"k": "v"}
                )
            }
        ),
    }


async def _kinds(engine: Engine) -> None:
    """Configurations; and what follows from them: events that wait, due times, access logs."""
    await engine.buckets.create("kinds", "dana")
    await engine.buckets.create("logged", "dana")
    for kind, record in configurations().items():
        if kind != encryption.KIND:  # logs are not written into a bucket that encrypts by default
            await engine.configurations.put("kinds", kind, record)
    told = notification.Configuration("c", "Queue", TARGET.name, ("s3:ObjectCreated:*",), prefix="a", suffix="z")
    await engine.notifying.put("kinds", notification.Notifications((told,)))
    await engine.access_logs.configure("logged", access_log.Logging("kinds", "logs/"), OPERATOR)
    engine.access_logs.note("logged", b"a line of the log\n")
    await engine.access_logs.deliver_all()
    await engine.configurations.put("kinds", encryption.KIND, configurations()[encryption.KIND])
    await engine.lifecycle.put("kinds", configurations()[lifecycle.KIND])
    for key in (b"a to z", b"tmp/due"):
        await engine.objects.put("kinds", key, Body(key), PutSpec(tags={"a": "b"}, principal="dana"))
    await engine.uploads.create("kinds", b"tmp/upload", UploadSpec(owner="dana", storage_class="STANDARD"))


async def _tiers(engine: Engine) -> None:
    await engine.buckets.create("tiers", "dana")
    for tier in ("hot", "warm", "cold"):
        await engine.objects.put("tiers", tier.encode(), Body(bytes_of(20_000, tier)), PutSpec())
        await move(engine, tier.encode(), tier, "tiers")
    await engine.objects.put("tiers", b"class", Body(bytes_of(20_000, "class")), PutSpec(storage_class="GLACIER_IR"))
    await move(engine, b"class", "cold", "tiers")
    for _ in range(4):
        await engine.reaper.one_pass()


async def describe(engine: Engine) -> dict:
    """All of it, as plain values."""
    names = ("versions", "locked", "sealed", "kinds", "tiers")
    return {
        "objects": {name: await objects_of(engine, name) for name in names},
        "rows": {prefix.decode(): _rows(engine, prefix, kind) for prefix, kind in TABLES.items()},
        "configurations": _configurations(engine),
        "tiers": {
            key: engine.tiers.tier_of(await engine.objects.head("tiers", key.encode())).summary
            for key in ("hot", "warm", "cold", "class")
        },
    }


async def objects_of(engine: Engine, bucket: str) -> list:
    """Every version in a bucket, opened as a client would."""
    shown = []
    for view in (await engine.objects.list_versions(bucket, VersionQuery())).versions:
        key = view.key.decode(errors="backslashreplace")
        row = {"key": key, "version": view.version, "latest": view.latest, "modified": view.modified}
        if view.view is not None:
            customer = CUSTOMER if bucket == "sealed" and view.key.startswith(b"c/") else None
            opened = await engine.objects.open(bucket, view.key, view.version, customer)
            row["sha256"] = hashlib.sha256(await read_all(opened)).hexdigest()
            row["inode"] = plain(opened.view.inode)
        shown.append(row)
    return shown


def _rows(engine: Engine, prefix: bytes, kind: type) -> dict:
    return engine.meta.read(lambda txn: {key.hex(): plain(row) for key, row in scan_records(txn, prefix, kind)})


def _configurations(engine: Engine) -> dict:
    keys = engine.meta.read(lambda txn: [key for key, _ in txn.scan(CONFIGURATION, CONFIGURATION + b"\xff")])
    shown = {}
    for bucket, kind in (key[1:].decode().split("\0") for key in keys):
        shown[f"{bucket} {kind}"] = plain(engine.configurations.read(bucket, kind, KINDS[kind]))
    return shown


def plain(value: object) -> object:
    """A record by the names of its fields."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return [[str(key), plain(each)] for key, each in sorted(value.items())]  # a list: compared as a whole
    return value.hex() if isinstance(value, bytes) else value


def agrees(found: object, expected: object) -> bool:
    """Is everything that was expected there? What later versions added does not count."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return all(key in found and agrees(found[key], value) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(agrees, found, expected))
    return found == expected
