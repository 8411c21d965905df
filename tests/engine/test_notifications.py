"""Events on a real engine, told to a target that is a fake: what is told, in which order, and that nothing is lost."""

import hmac
from contextlib import asynccontextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec
import pytest
import trio

from stratum.core.config import NotifyTarget
from stratum.core.errors import NotDelivered
from stratum.core.notification import Configuration, Notifications
from stratum.core.objects import CopySpec, PutSpec
from stratum.engine.engine import open_engine
from stratum.store.webhooks import Webhooks, is_public
from tests.engine.conftest import ROOT, Clock, body_of, settings_for

OPS = NotifyTarget(name="ops", url="http://127.0.0.1:1/", allow_private=True)
OTHER = replace(OPS, name="other")


class FakeSender:
    """Takes messages, or refuses as many as `failures` says."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict]] = []
        self.failures = 0

    async def send(self, target, body: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures:
            self.failures -= 1
            raise NotDelivered("refused")
        self.taken.append((target.name, msgspec.json.decode(body)))

    async def aclose(self) -> None:
        pass


class Told:
    def __init__(self, engine) -> None:
        self.engine, self.sender = engine, FakeSender()
        engine.notifying.sender = self.sender

    async def configure(self, *configurations: Configuration, test: bool = False) -> None:
        await self.engine.notifying.put("bucket", Notifications(configurations), test=test)

    async def put(self, key: bytes, body: bytes = b"x", **spec):
        return await self.engine.objects.put("bucket", key, body_of(body), PutSpec(**spec))

    async def events(self, target=OPS) -> list[tuple[str, str]]:
        """(event, key) of everything that was told, in order; asks until the queue is empty."""
        while await self.engine.notifying.tell(target):
            pass
        return [
            (record["eventName"], record["s3"]["object"]["key"])
            for name, message in self.sender.taken
            for record in message.get("Records", ())
            if name == target.name
        ]


@asynccontextmanager
async def opened(folder, **limits):
    settings = replace(settings_for(folder, **limits), notify=(OPS, OTHER))
    async with open_engine(settings, root=ROOT, now_ns=Clock()) as engine:
        told = Told(engine)
        yield told


@pytest.fixture
async def told(tmp_path, monkeypatch):
    monkeypatch.setattr("stratum.engine.notifications.Notifying.run", _idle)
    async with opened(tmp_path) as made:
        await made.engine.buckets.create("bucket", "alice")
        yield made


async def _idle(self) -> None:
    await trio.sleep_forever()


ALL = Configuration("all", "Queue", "ops", ("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"))


async def test_every_write_is_told_in_the_order_of_the_writes(told):
    await told.configure(ALL)
    await told.put(b"a b/\xc3\xa9+")
    await told.engine.objects.copy("bucket", b"a b/\xc3\xa9+", "bucket", b"copy", CopySpec())
    await told.engine.objects.amend("bucket", b"copy", None, lambda inode: inode, "ObjectTagging:Put")
    await told.engine.objects.delete("bucket", b"copy")
    assert await told.events() == [
        ("ObjectCreated:Put", "a+b/%C3%A9%2B"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectTagging:Put", "copy"),
        ("ObjectRemoved:Delete", "copy"),
    ]
    sequencers = [m["Records"][0]["s3"]["object"]["sequencer"] for _, m in told.sender.taken]
    assert sequencers == sorted(set(sequencers))


async def test_a_message_says_what_s3_says(told):
    await told.configure(ALL)
    view = await told.put(b"key", b"hello", principal="bob")
    await told.events()
    (record,) = told.sender.taken[0][1]["Records"]
    assert record["eventSource"] == "aws:s3"
    assert record["eventVersion"] == "2.1"
    assert record["awsRegion"] == "us-east-1"
    assert record["eventTime"].startswith("2023-11-14T22:13:")
    assert record["userIdentity"] == {"principalId": "bob"}
    assert record["s3"]["configurationId"] == "all"
    assert record["s3"]["bucket"] == {
        "name": "bucket",
        "arn": "arn:aws:s3:::bucket",
        "ownerIdentity": {"principalId": "alice"},
    }
    told_of = record["s3"]["object"]
    assert (told_of["size"], told_of["eTag"]) == (5, view.etag)
    assert "versionId" not in told_of


async def test_versions_and_markers_are_named(told):
    await told.engine.buckets.amend("bucket", lambda b: msgspec.structs.replace(b, versioning="Enabled"))
    await told.configure(ALL)
    view = await told.put(b"key")
    deleted = await told.engine.objects.delete("bucket", b"key")
    await told.engine.objects.delete("bucket", b"key", version=view.version)
    assert [event for event, _ in await told.events()] == [
        "ObjectCreated:Put",
        "ObjectRemoved:DeleteMarkerCreated",
        "ObjectRemoved:Delete",
    ]
    versions = [m["Records"][0]["s3"]["object"]["versionId"] for _, m in told.sender.taken]
    assert versions == [view.version, deleted.version, view.version]


async def test_only_what_was_asked_for_is_told_and_to_whom(told):
    images = Configuration("i", "Topic", "ops", ("s3:ObjectCreated:Put",), prefix="in/", suffix=".jpg")
    gone = Configuration("g", "Queue", "other", ("s3:ObjectRemoved:Delete",))
    await told.configure(images, gone)
    for key in (b"in/a.jpg", b"in/a.png", b"a.jpg"):
        await told.put(key)
    await told.engine.objects.delete("bucket", b"a.jpg")
    await told.engine.objects.delete("bucket", b"no such key")
    assert await told.events(OPS) == [("ObjectCreated:Put", "in/a.jpg")]
    assert await told.events(OTHER) == [("ObjectRemoved:Delete", "a.jpg")]


async def test_a_write_that_fails_is_not_told(told):
    await told.configure(ALL)

    def refuse(digests, size):
        raise ValueError

    with pytest.raises(ValueError):
        await told.put(b"key", check=refuse)
    assert await told.events() == []


async def test_what_a_target_refuses_is_told_again_before_anything_later(told):
    await told.configure(ALL)
    for number in range(3):
        await told.put(b"%d" % number)
    for _ in range(2):
        told.sender.failures = 1
        with pytest.raises(NotDelivered):
            await told.engine.notifying.tell(OPS)
    assert [key for _, key in await told.events()] == ["0", "1", "2"]
    assert told.engine.notifying.standing["ops"].failed == 2


async def test_what_was_not_told_before_a_stop_is_told_after_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr("stratum.engine.notifications.Notifying.run", _idle)
    async with opened(tmp_path) as first:
        await first.engine.buckets.create("bucket", "alice")
        await first.configure(ALL)
        await first.put(b"one")
        await first.put(b"two")
        first.sender.failures = 1
        with pytest.raises(NotDelivered):
            await first.engine.notifying.tell(OPS)
    async with opened(tmp_path) as second:
        assert [key for _, key in await second.events()] == ["one", "two"]


async def test_a_queue_ends_somewhere_and_counts_what_it_leaves_out(tmp_path, monkeypatch):
    monkeypatch.setattr("stratum.engine.notifications.Notifying.run", _idle)
    async with opened(tmp_path, events=3) as told:
        await told.engine.buckets.create("bucket", "alice")
        await told.configure(ALL)
        for number in range(5):
            await told.put(b"%d" % number)
        assert [key for _, key in await told.events()] == ["0", "1", "2"]
        assert told.engine.notifying.standing["ops"].dropped == 2
        await told.put(b"5")
        assert [key for _, key in await told.events()] == ["0", "1", "2", "5"]


async def test_an_event_that_nobody_takes_for_too_long_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("stratum.engine.notifications.Notifying.run", _idle)
    async with opened(tmp_path, event_age=0.001) as told:
        await told.engine.buckets.create("bucket", "alice")
        await told.configure(ALL)
        await told.put(b"old")
        told.sender.failures = 1
        assert await told.events() == []
        assert told.engine.notifying.standing["ops"].expired == 1


async def test_each_target_of_a_new_configuration_gets_a_test_event(told):
    other = Configuration("o", "Topic", "other", ("s3:ObjectRestore:*",))
    again = Configuration("p", "Topic", "ops", ("s3:ObjectAcl:Put",))
    await told.configure(ALL, other, again, test=True)
    await told.events(OPS)
    await told.events(OTHER)
    assert [(name, m["Event"], m["Bucket"]) for name, m in told.sender.taken] == [
        ("ops", "s3:TestEvent", "bucket"),
        ("other", "s3:TestEvent", "bucket"),
    ]


async def test_the_service_tells_by_itself_and_after_a_failure_again(tmp_path, monkeypatch):
    monkeypatch.setattr("stratum.engine.notifications.PAUSE", 0.001)
    async with opened(tmp_path) as told:
        await told.engine.buckets.create("bucket", "alice")
        told.sender.failures = 3
        await told.configure(ALL)
        await told.put(b"key")
        while not told.sender.taken:
            await trio.sleep(0.001)
        assert told.engine.notifying.standing["ops"].failed == 3


# --- over HTTP --------------------------------------------------------------------------------------------------


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((self.path, dict(self.headers), body))
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def hook():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.taken, server.statuses = [], []
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def target_at(server, **parts) -> NotifyTarget:
    url = f"http://127.0.0.1:{server.server_address[1]}/in?x=1"
    return NotifyTarget(name="ops", url=url, **({"allow_private": True} | parts))


async def test_a_webhook_posts_json_and_signs_it(hook, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "s3cr3t")
    sender = Webhooks()
    await sender.send(target_at(hook, secret_ref="env:HOOK_SECRET"), b'{"a":1}')
    await sender.aclose()
    ((path, headers, body),) = hook.taken
    assert (path, body, headers["Content-Type"]) == ("/in?x=1", b'{"a":1}', "application/json")
    assert headers["X-Stratum-Signature"] == "sha256=" + hmac.new(b"s3cr3t", body, "sha256").hexdigest()


@pytest.mark.parametrize("status", [302, 400, 500])
async def test_a_webhook_that_does_not_answer_2xx_did_not_take_it(hook, status):
    hook.statuses = [status]
    sender = Webhooks()
    with pytest.raises(NotDelivered):
        await sender.send(target_at(hook), b"{}")
    await sender.send(target_at(hook), b"{}")
    await sender.aclose()
    assert [path for path, _, _ in hook.taken] == ["/in?x=1"] * 2, "a redirect is not followed"


async def test_a_webhook_at_a_private_address_is_refused_unless_it_is_allowed(hook):
    sender = Webhooks()
    with pytest.raises(NotDelivered, match="no public address"):
        await sender.send(target_at(hook, allow_private=False), b"{}")
    await sender.aclose()
    assert hook.taken == []


async def test_nobody_at_the_address_is_a_failure_that_is_told():
    sender = Webhooks()
    with pytest.raises(NotDelivered):
        await sender.send(OPS, b"{}")
    with pytest.raises(NotDelivered, match="secret"):
        await sender.send(replace(OPS, secret_ref="env:NO_SUCH_VARIABLE"), b"{}")
    await sender.aclose()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.251", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("93.184.215.14", True),
        ("2606:4700:4700::1111", True),
        ("64:ff9b::808:808", True),
    ],
)
def test_which_addresses_are_public(address, public):
    assert is_public(address) is public
