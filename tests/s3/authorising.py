"""Every request that the route table knows, signed in every way: for the tests of who may do what."""

import time
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import md5

from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stratum.core.objects import PutSpec, UploadSpec
from stratum.engine.credentials import KeyPair
from stratum.s3.door import S3Door
from stratum.s3.http import Request
from stratum.s3.routes import COPYING, TABLE, Op
from stratum.s3.sub_resources import DELETABLE, UNSET, Level
from tests.engine.conftest import ROOT, body_of, engine_at

REGION = "us-east-1"
OPERATOR = Credentials(ROOT.access_key, ROOT.secret_key)
ALICE = Credentials("ALICEKEY", "alice-secret-key")
BOB = Credentials("BOBKEY", "bob-secret-key")
CODES = ("AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed", "InvalidArgument")
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nnew\r\n--x--\r\n'
)


@dataclass(frozen=True)
class Way:
    """One request of the table. `target` has places for {bucket}, {key} and {upload}."""

    op: Op
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.op.name} {self.method} {self.target}"


@dataclass(frozen=True)
class Place:
    """What a request is about."""

    bucket: str
    key: str
    upload: str


VALUES = {"list-type": "=2", "uploadId": "={upload}&partNumber=1"}
PATHS = {Level.SERVICE: "/", Level.BUCKET: "/{bucket}", Level.OBJECT: "/{bucket}/{key}"}
DELETE = b"<Delete><Object><Key>k</Key></Object></Delete>"
NEEDED = {
    Op.DELETE_OBJECTS: ((("content-md5", b64encode(md5(DELETE).digest()).decode()),), DELETE),
    Op.RENAME_OBJECT: ((("x-amz-rename-source", "old"),), b""),
}


def ways() -> list[Way]:
    """All that the route table knows: whatever is added to it is in here."""
    found = []
    for (level, method, name), (op, _) in TABLE.items():
        value = VALUES.get(name, "").replace("&partNumber=1", "" if op is not Op.UPLOAD_PART else "&partNumber=1")
        query = f"?{name}{value}" if name else ""
        headers, body = NEEDED.get(op, ((), b""))
        found.append(Way(op, method, PATHS[level] + query, headers, body))
        if op in COPYING:
            found.append(Way(COPYING[op], method, PATHS[level] + query, (("x-amz-copy-source", "/{bucket}/old"),)))
    for level, name in UNSET:
        found.append(Way(Op.GET_UNSET, "GET", f"{PATHS[level]}?{name}"))
        if name in DELETABLE:
            found.append(Way(Op.DELETE_UNSET, "DELETE", f"{PATHS[level]}?{name}"))
    return found


WAYS = ways()


def signed_by(mode: str, way: Way) -> bool:
    """Does this signature cover the request? That of version 2 knows fewer sub-resources."""
    name = way.target.partition("?")[2].partition("=")[0].partition("&")[0]
    return not mode.startswith("old") or not name or name in HmacV1Auth.QSAOfInterest


class Body:
    """Some bytes, whether or not anybody reads them."""

    def __init__(self, content: bytes) -> None:
        self._pieces = [content] if content else []

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()


def unsigned(way: Way, place: Place, **more: str) -> AWSRequest:
    """The request as botocore takes it."""
    named = vars(place)
    headers = {name: value.format(**named) for name, value in way.headers} | more
    url = f"http://localhost{way.target.format(**named)}"
    return AWSRequest(method=way.method, url=url, headers=headers, data=way.body)


def sent(made: AWSRequest) -> Request:
    """What comes over the wire."""
    path, _, query = made.url.removeprefix("http://localhost").partition("?")
    headers = {"Host": "localhost", **dict(made.headers.items())}
    return Request(
        method=made.method,
        raw_path=path.encode(),
        raw_query=query.encode(),
        headers=[
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
            (b"content-length", str(len(made.data or b"")).encode()),
        ],
        body=Body(made.data or b""),
    )


def by_header(made: AWSRequest, who: Credentials) -> Request:
    made.context["payload_signing_enabled"] = True
    S3SigV4Auth(who, "s3", REGION).add_auth(made)
    return sent(made)


def by_query(made: AWSRequest, who: Credentials) -> Request:
    body, made.data = made.data, b""  # botocore would take the body for parameters
    S3SigV4QueryAuth(who, "s3", REGION, expires=60).add_auth(made)
    made.data = body
    return sent(made)


def by_old_header(made: AWSRequest, who: Credentials) -> Request:
    HmacV1Auth(who).add_auth(made)
    return sent(made)


def way_headers(made: AWSRequest) -> list[tuple[str, str]]:
    return [(name, value) for name, value in made.headers.items() if name.lower().startswith(("x-amz-", "content-md5"))]


def by_old_query(made: AWSRequest, who: Credentials) -> Request:
    HmacV1QueryAuth(who, expires=60).add_auth(made)
    for name, _ in way_headers(made):  # they stand in the URL now
        del made.headers[name]
    return sent(made)


def form() -> Request:
    """An anonymous form."""
    headers = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=x")]
    return Request(method="POST", raw_path=b"/bucket", headers=headers, body=Body(FORM))


MODES = {"header": by_header, "query": by_query, "old header": by_old_header, "old query": by_old_query}


class World:
    """A store with a bucket of the operator's and two users who own nothing."""

    def __init__(self, engine) -> None:
        self.engine = engine
        self.door = S3Door(engine, now_s=lambda: int(time.time()))

    async def place(self, bucket: str = "bucket", owner: str = "stratum") -> Place:
        """A bucket with an object, a second one and an upload."""
        await self.engine.buckets.create(bucket, owner)
        for key in (b"k", b"old"):
            await self.engine.objects.put(bucket, key, body_of(b"content"), PutSpec())
        return Place(bucket, "k", await self.engine.uploads.create(bucket, b"k", UploadSpec()))

    async def ask(self, request: Request) -> tuple[int, str]:
        """(status, code of the error)."""
        response = await self.door.handle(replace(request, request_id="1"))
        body = response.body if isinstance(response.body, bytes) else b"".join([each async for each in response.body])
        code = body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
        return response.status, code

    def everything(self) -> tuple:
        """All that is stored, but what services of the store write by themselves about volumes."""
        return self.engine.meta.read(
            lambda txn: tuple(row for row in txn.scan(b"\0", b"\xff") if row[0][:1] not in (b"n", b"v", b"r", b"g"))
        )


@asynccontextmanager
async def world_at(folder):
    async with engine_at(folder) as engine:
        for name, who in (("alice", ALICE), ("bob", BOB)):
            await engine.users.create(name, user=name, email=f"{name}@example.com")
            await engine.credentials.create("", user=name, pair=KeyPair(who.access_key, who.secret_key))
        yield World(engine)
