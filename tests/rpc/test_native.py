"""The native interface: a real gRPC client against a real engine, and the same rules as over S3."""

import contextlib
import os
import random
import time
from functools import partial
from pathlib import Path

import grpc
import pytest
import trio
from grpc_tools import protoc

from contrib.rpc.client import Client
from stratum.core.objects import PutSpec
from stratum.rpc.messages import DESCRIPTION, message, methods
from stratum.rpc.server import serve_rpc
from stratum.s3.door import S3Door
from stratum.serve.rpc_endpoint import make_rpc, rpc_credentials
from stratum.serve.self_signed import renew
from stratum.serve.settings_file import load_settings
from stratum.serve.tls import Tls
from tests.engine.conftest import ROOT, body_of, engine_at

NAMES = ("Name", "PutPiece", "PutHead", "GetRequest", "ListRequest", "CopyRequest", "RenameRequest", "Condition")
Name, PutPiece, PutHead, GetRequest, ListRequest, CopyRequest, RenameRequest, Condition = map(message, NAMES)
Nothing, MoveRequest = message("Nothing"), message("MoveRequest")


class Native:
    """A server and a client of the root key. `call` runs a blocking call in a thread."""

    def __init__(self, engine, channel):
        self.engine, self.channel = engine, channel
        self.client = Client(channel, ROOT.access_key, ROOT.secret_key)

    async def call(self, work, *arguments):
        return await trio.to_thread.run_sync(partial(work, *arguments))

    async def put(self, key, body, *, bucket="bucket", size=0, condition=None, **head):
        named = PutHead(name=Name(bucket=bucket, key=key), size=size, condition=condition, **head)
        pieces = [
            PutPiece(head=named),
            *(PutPiece(data=body[at : at + 700_000]) for at in range(0, len(body), 700_000)),
        ]
        return await self.call(self.client.Objects.Put, iter(pieces))

    async def get(self, key, **more):
        request = GetRequest(name=Name(bucket="bucket", key=key), **more)
        pieces = await self.call(lambda: list(self.client.Objects.Get(request)))
        return pieces[0].facts, b"".join(piece.data for piece in pieces[1:])


@pytest.fixture
async def native(tmp_path):
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "stratum")
        stop = trio.Event()
        rpc = make_rpc(engine, S3Door(engine, now_s=lambda: int(time.time())), None)
        async with trio.open_nursery() as nursery:
            port = await nursery.start(partial(serve_rpc, rpc, "127.0.0.1:0", stop=stop.wait))
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Native(engine, channel)
            stop.set()


async def refused(native, work, *arguments):
    with pytest.raises(grpc.RpcError) as caught:
        await native.call(lambda: [*found] if hasattr(found := work(*arguments), "__iter__") else found)
    return caught.value.code(), caught.value.details()


async def test_an_object_comes_back_as_it_was_stored_whole_and_in_part(native):
    body = os.urandom(3_000_001)
    facts = await native.put("a/ä b", body, content_type="text/x", metadata={"colour": "blue"})
    assert (facts.size, facts.content_type, facts.metadata["colour"]) == (len(body), "text/x", "blue")
    seen = await native.engine.objects.head("bucket", "a/ä b".encode())
    assert seen.etag == facts.etag
    assert await native.get("a/ä b") == (facts, body)
    assert (await native.get("a/ä b", offset=1_000_000, length=17))[1] == body[1_000_000:1_000_017]
    assert (await native.get("a/ä b", offset=3_000_000))[1] == body[3_000_000:]
    assert (await native.get("a/ä b", if_match=facts.etag))[1] == body


async def test_conditions_hold_and_say_why_not(native):
    facts = await native.put("key", b"one", condition=Condition(if_none_match="*"))
    with pytest.raises(grpc.RpcError, match="PreconditionFailed"):
        await native.put("key", b"two", condition=Condition(if_none_match="*"))
    await native.put("key", b"two", condition=Condition(if_match=facts.etag))
    with pytest.raises(grpc.RpcError, match="PreconditionFailed"):
        await native.put("key", b"three", condition=Condition(if_match=facts.etag))
    assert (await native.get("key"))[1] == b"two"


async def test_a_body_that_is_not_as_long_as_was_said_leaves_nothing(native):
    for size in (2, 4):
        with pytest.raises(grpc.RpcError):
            await native.put("key", b"abc", size=size)
    code, _ = await refused(native, native.client.Objects.Head, Name(bucket="bucket", key="key"))
    assert code == grpc.StatusCode.NOT_FOUND


async def test_a_listing_goes_on_over_pages_in_byte_order(native):
    keys = sorted([*(f"k/{number:04}" for number in range(1003)), "a b", "ä", "z/1"], key=str.encode)
    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(native.engine.objects.put, "bucket", key.encode(), body_of(b"x"), PutSpec())
    listed = await native.call(lambda: list(native.client.Objects.List(ListRequest(bucket="bucket"))))
    assert [entry.key for entry in listed] == keys
    request = ListRequest(bucket="bucket", delimiter="/", limit=3)
    found = await native.call(lambda: list(native.client.Objects.List(request)))
    assert [entry.key or entry.prefix for entry in found] == ["a b", "k/", "z/"]
    request = ListRequest(bucket="bucket", prefix="k/", after="k/1000")
    found = await native.call(lambda: list(native.client.Objects.List(request)))
    assert [entry.key for entry in found] == ["k/1001", "k/1002"]


async def test_copy_rename_and_delete(native):
    facts = await native.put("one", b"body")
    source, target = Name(bucket="bucket", key="one"), Name(bucket="bucket", key="two &")
    copied = await native.call(native.client.Objects.Copy, CopyRequest(source=source, target=target))
    assert copied.etag == facts.etag
    renaming = RenameRequest(bucket="bucket", to="three", **{"from": "two &"})
    renamed = await native.call(native.client.Objects.Rename, renaming)
    assert renamed.etag == facts.etag
    assert (await refused(native, native.client.Objects.Head, target))[0] == grpc.StatusCode.NOT_FOUND
    await native.call(native.client.Objects.Delete, source)
    left = await native.call(lambda: list(native.client.Objects.List(ListRequest(bucket="bucket"))))
    assert [entry.key for entry in left] == ["three"]


METHODS = [(service, method) for service in ("Objects", "Store") for method in methods(service)]


@pytest.mark.parametrize("service, method", METHODS, ids=[method for _, method in METHODS])
async def test_every_method_refuses_what_is_not_signed_for_it(native, service, method):
    await native.put("key", b"x")
    path = f"/stratum.v1.{service}/{method}"
    request, response, takes, gives = methods(service)[method]
    kind = f"{'stream' if takes else 'unary'}_{'stream' if gives else 'unary'}"
    bare = getattr(native.channel, kind)(
        path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
    other = next(f"/stratum.v1.{each[0]}/{each[1]}" for each in METHODS if each != (service, method))
    nobody, liar = (
        Client(native.channel, "STRNOBODY", ROOT.secret_key),
        Client(native.channel, ROOT.access_key, "guess"),
    )
    for call in (bare, nobody._signed(bare, path), liar._signed(bare, path), native.client._signed(bare, other)):
        asked = iter([request()]) if takes else request()
        assert (await refused(native, call, asked))[0] == grpc.StatusCode.UNAUTHENTICATED
    assert (await native.get("key"))[1] == b"x"


def _drain(call, request):
    found = call(request)
    return list(found) if hasattr(found, "__iter__") else found


async def test_no_bytes_of_a_message_end_the_server(native):
    noise = random.Random(1)
    for service, method in METHODS:
        path = f"/stratum.v1.{service}/{method}"
        _, _, takes, gives = methods(service)[method]
        kind = f"{'stream' if takes else 'unary'}_{'stream' if gives else 'unary'}"
        call = native.client._signed(getattr(native.channel, kind)(path), path)
        for size in (0, 1, 7, 100, 5000):
            body = noise.randbytes(size)
            with contextlib.suppress(grpc.RpcError):
                await native.call(_drain, call, iter([body]) if takes else body)
    await native.put("key", b"still here")
    assert (await native.get("key"))[1] == b"still here"


async def test_hostile_keys_come_back_as_themselves(native):
    for key in ("..", "../../etc/passwd", "a//b", "%2e%2e", "./x", "a/../b", "\\", "x" * 1024, "a\u202eb", "<&>\"'"):
        await native.put(key, key.encode())
        assert (await native.get(key))[1] == key.encode()
    with pytest.raises(grpc.RpcError, match="KeyTooLong"):
        await native.put("x" * 1025, b"x")


def test_there_is_no_native_interface_unless_it_is_asked_for():
    assert load_settings(None, {}).settings.rpc_port is None


async def test_a_user_may_do_what_it_may_do_over_s3_and_is_no_operator(native):
    user = await native.engine.users.create("maria")
    pair = await native.engine.credentials.create("laptop", user=user)
    theirs = Client(native.channel, pair.access_key, pair.secret_key)
    await native.put("secret", b"x")
    name = Name(bucket="bucket", key="secret")
    assert (await refused(native, theirs.Objects.Head, name))[0] == grpc.StatusCode.PERMISSION_DENIED
    listing = ListRequest(bucket="bucket")
    assert (await refused(native, theirs.Objects.List, listing))[0] == grpc.StatusCode.PERMISSION_DENIED
    for call, request in (
        (theirs.Store.Status, Nothing()),
        (theirs.Store.Explain, name),
        (theirs.Store.Move, MoveRequest()),
    ):
        assert (await refused(native, call, request))[0] == grpc.StatusCode.PERMISSION_DENIED


async def test_the_store_tells_how_it_is(native):
    told = await native.call(native.client.Store.Status, Nothing())
    assert '"state":"healthy"' in told.json
    await native.put("key", b"x" * 100_000)
    where = await native.call(native.client.Store.Explain, Name(bucket="bucket", key="key"))
    assert "hot" in where.json
    code, _ = await refused(native, native.client.Store.Explain, Name(bucket="bucket", key="missing"))
    assert code == grpc.StatusCode.NOT_FOUND


async def test_a_reader_that_goes_away_frees_what_it_held(native):
    await native.put("big", os.urandom(9_000_000))
    found = await native.call(native.client.Objects.Get, GetRequest(name=Name(bucket="bucket", key="big")))
    await native.call(next, found)
    found.cancel()
    assert (await native.get("big", offset=8_999_999))[0].size == 9_000_000


def test_the_description_is_that_of_the_proto_file(tmp_path):
    folder = Path(DESCRIPTION).parent
    made = tmp_path / "made.desc"
    assert protoc.main(["", f"-I{folder}", f"--descriptor_set_out={made}", "stratum.proto"]) == 0
    assert made.read_bytes() == DESCRIPTION.read_bytes(), "run contrib/rpc/generate.sh"


async def test_over_tls_it_shows_the_certificate_of_the_other_doors(tmp_path):
    folder = tmp_path / "tls"
    files = renew(folder, ("localhost",), time.time())
    tls = Tls((files, None), certificate=folder / "certificate.pem")
    async with engine_at(tmp_path / "store") as engine, trio.open_nursery() as nursery:
        stop = trio.Event()
        rpc = make_rpc(engine, S3Door(engine, now_s=lambda: int(time.time())), rpc_credentials(tls))
        port = await nursery.start(partial(serve_rpc, rpc, "127.0.0.1:0", stop=stop.wait))
        trusted = grpc.ssl_channel_credentials((folder / "certificate.pem").read_bytes())
        with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
            client = Client(channel, ROOT.access_key, ROOT.secret_key)
            told = await trio.to_thread.run_sync(client.Store.Status, Nothing())
            assert "healthy" in told.json
        stop.set()
