"""What every backend has to do, whatever stands behind it: in memory, on warm disks, a bucket of an S3 endpoint.

The endpoints are Stratum's own, moto, and `rclone serve s3`: real servers, the last two processes of their own.
"""

import hashlib
import random
from dataclasses import replace

import pytest
import trio

from stratum.core.config import MIB
from stratum.core.records import Held
from stratum.store.backends import BackendDown, BackendRefuses, Head, HeldMissing, HeldWrong
from stratum.store.guarded import Guarded
from tests.engine.conftest import ROOT
from tests.engine.remote import LIMITS, remote_backend, served_backend
from tests.engine.s3_servers import KINDS, Servers
from tests.engine.tiered import tiered_engine
from tests.fakes.backend import FakeBackend


@pytest.fixture(scope="session")
def servers():
    found = Servers()
    yield found
    found.close()


@pytest.fixture(params=["in memory", "warm", "remote", *KINDS])
async def backend(request, tmp_path, monkeypatch, servers):
    if request.param == "in memory":
        yield FakeBackend()
    elif request.param == "warm":
        async with tiered_engine(tmp_path) as engine:
            yield engine.tiers.mover.target("warm")
    elif request.param in KINDS:
        async with served_backend(servers.url(request.param), monkeypatch) as found:
            yield found
    else:
        async with remote_backend(tmp_path, monkeypatch) as found:
            yield found


def stream_of(content, piece=700_000):
    async def stream():
        for at in range(0, len(content), piece):
            await trio.lowlevel.checkpoint()
            yield content[at : at + piece]

    return stream


def planned(backend, content):
    return backend.plan(len(content), hashlib.sha256(content).digest())


async def test_what_was_put_is_there_as_it_was_in_every_range(backend):
    for size in (1, 100_000, 13 * MIB):
        content = random.Random(size).randbytes(size)
        held = await backend.put(stream_of(content), planned(backend, content))
        assert (held.size, held.sha256) == (size, hashlib.sha256(content).digest())
        assert await backend.head(held) == Head(size, held.sha256)
        for start, stop in ((0, size), (0, 1), (size - 1, size), (size // 3, size // 2 + 1)):
            assert await backend.get(held, start, stop) == content[start:stop]


async def test_putting_again_is_no_harm_and_deleting_again_neither(backend):
    content = random.Random(1).randbytes(50_000)
    held = await backend.put(stream_of(content), planned(backend, content))
    again = await backend.put(stream_of(content), planned(backend, content))
    assert await backend.get(again, 0, 50_000) == content
    for each in (held, again, held):
        await backend.delete(each)


async def test_what_is_deleted_or_was_never_there_is_missing(backend):
    content = random.Random(1).randbytes(50_000)
    never = planned(backend, content)
    assert await backend.head(never) is None
    await backend.delete(never)
    if never.key:
        with pytest.raises(HeldMissing):
            await backend.get(never, 0, 10)
        held = await backend.put(stream_of(content), never)
        await backend.delete(held)
        assert await backend.head(held) is None


async def test_a_stream_that_is_not_what_was_planned_is_refused(backend):
    content = random.Random(1).randbytes(50_000)
    with pytest.raises(HeldWrong):
        await backend.put(stream_of(content[:-1] + b"x"), planned(backend, content))


async def test_a_stream_that_breaks_leaves_nothing_whole(backend):
    content = random.Random(1).randbytes(8 * MIB)

    async def breaks():
        yield content[: 6 * MIB]
        raise BackendDown("the source failed")

    with pytest.raises(BackendDown):
        await backend.put(breaks, planned(backend, content))
    assert await backend.head(planned(backend, content)) is None


async def test_a_backend_in_order_is_healthy(backend):
    await backend.health()


async def test_many_at_the_same_time_do_not_disturb_each_other(backend):
    contents = [random.Random(seed).randbytes(20_000 + seed) for seed in range(12)]

    async def there_and_back(content):
        held = await backend.put(stream_of(content), planned(backend, content))
        assert await backend.get(held, 5, len(content)) == content[5:]

    async with trio.open_nursery() as nursery:
        for content in contents:
            nursery.start_soon(there_and_back, content)


# --- the remote one alone -----------------------------------------------------------------------------------------


async def test_a_remote_that_does_not_know_us_refuses_and_new_credentials_are_read_again(tmp_path, monkeypatch):
    async with remote_backend(tmp_path, monkeypatch) as backend:
        await backend.health()
        monkeypatch.setenv("COLD_SECRET", "another secret")
        backend._refused = True  # as after a refusal: the credentials are read again
        with pytest.raises(BackendRefuses):
            await backend.health()
        monkeypatch.setenv("COLD_SECRET", ROOT.secret_key)
        await backend.health()


async def test_a_bucket_that_is_not_there_refuses(tmp_path, monkeypatch):
    async with remote_backend(tmp_path, monkeypatch, bucket="other") as backend:
        for attempt in (backend.health, lambda: backend.put(stream_of(b"abc"), planned(backend, b"abc"))):
            with pytest.raises(BackendRefuses):
                await attempt()


async def test_addresses_that_are_not_public_are_refused_unless_allowed(tmp_path, monkeypatch):
    for url in ("http://127.0.0.1:9", "http://localhost:9", "http://169.254.169.254", "http://[::1]:9"):
        async with remote_backend(
            tmp_path / url[-6:].strip("/[]"), monkeypatch, allow_private=False, endpoint_url=url
        ) as backend:
            with pytest.raises(BackendDown, match=r"allow_private|no public address"):
                await backend.health()


async def test_redirects_are_not_followed(tmp_path, monkeypatch):
    asked = []

    async def serve(stream):
        asked.append(await stream.receive_some(65536))
        await stream.send_all(
            b"HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:%d/stolen\r\nContent-Length: 0\r\n\r\n" % port
        )

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        url = f"http://127.0.0.1:{port}"
        async with remote_backend(tmp_path, monkeypatch, endpoint_url=url) as backend:
            with pytest.raises(BackendDown):
                await backend.get(backend.plan(3, bytes(32)), 0, 3)
        assert asked and not any(b"/stolen" in each for each in asked)
        nursery.cancel_scope.cancel()


async def test_what_is_listed_is_told_from_what_another_store_put_there(tmp_path, monkeypatch):
    async with remote_backend(tmp_path, monkeypatch) as backend:
        held = await backend.put(stream_of(b"abc"), planned(backend, b"abc"))
        assert [each.key for each in await backend.page("")] == [held.key]
        assert await backend.page(held.key) == []
        assert await backend.is_ours(held.key)
        backend._store = "another"
        assert not await backend.is_ours(held.key)


# --- manners ------------------------------------------------------------------------------------------------------


async def test_what_may_pass_is_tried_again_so_often_and_no_more(autojump_clock):
    fake = FakeBackend()
    guarded = Guarded(fake, replace(LIMITS, cold_attempts=4))
    held = await guarded.put(stream_of(b"abc"), planned(guarded, b"abc"))
    faults = iter(["500", "short body", None, *["503"] * 20])
    fake.fault = lambda verb: next(faults)
    assert await guarded.get(held, 0, 3) == b"abc"
    assert guarded.trouble == ""
    before = fake.calls["get"]
    with pytest.raises(BackendDown):
        await guarded.get(held, 0, 3)
    assert fake.calls["get"] - before == 4
    assert guarded.trouble


async def test_what_will_not_pass_is_not_tried_again(autojump_clock):
    fake = FakeBackend()
    guarded = Guarded(fake, LIMITS)
    with pytest.raises(HeldMissing):
        await guarded.get(Held("remote", "nothing", 3, bytes(32)), 0, 3)
    fake.fault = lambda verb: "403"
    with pytest.raises(BackendRefuses):
        await guarded.health()
    assert fake.calls["get"] == fake.calls["health"] == 1


async def test_no_answer_ends_in_time(autojump_clock):
    class Silent(FakeBackend):
        async def health(self):
            await trio.sleep_forever()

    guarded = Guarded(Silent(), LIMITS)
    began = trio.current_time()
    with pytest.raises(BackendDown):
        await guarded.health()
    assert trio.current_time() - began < 60
