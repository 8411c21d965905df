"""What counts as a use, asked of the real doors: visits, interest, sweeps, overwrites, and what counts for nothing."""

import os
import time
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from botocore.exceptions import ClientError

from stratum.core.objects import CopySpec
from stratum.core.tiering.blocks import INTEREST, WRITTEN
from stratum.s3.app import make_app
from stratum.s3.door import S3Door
from stratum.s3.hosts import Hosts
from stratum.s3.serve import Serving, open_listener, serve_app
from tests.engine.conftest import ROOT
from tests.engine.deciding import HandClock, deciding_engine
from tests.s3.conftest import Endpoint

os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
MINUTE = 60 * 10**9
SIZE = 3_000_000


@asynccontextmanager
async def opened(folder, **tiering):
    async with deciding_engine(folder, clock=HandClock(time.time_ns()), **tiering) as store:
        door, stop = S3Door(store.engine, now_s=lambda: int(time.time())), trio.Event()
        async with trio.open_nursery() as nursery:
            app = make_app(door, None, Hosts.of(store.engine.settings))
            serve = partial(serve_app, app, open_listener("127.0.0.1", 0), stop=stop.wait, grace=1.0, serving=Serving())
            made = Endpoint(store.engine, (await nursery.start(serve)).port)
            await store.put("films/a", SIZE)
            (made.volume,) = await store.volumes("films/a")
            made.clock, made.store = store.clock, store
            yield made
            await made.run(made.client.close)
            stop.set()


@pytest.fixture
async def door(tmp_path):
    async with opened(tmp_path) as made:
        yield made


def today(door):
    return door.engine.heat.today(door.volume)


async def purpose(door, word, **more):
    def add(request, **_):
        request.headers["x-stratum-purpose"] = word

    client = door.client_for(ROOT.access_key, ROOT.secret_key)
    client.meta.events.register("before-sign.s3", add)

    def read():
        return client.get_object(Bucket="bucket", Key="films/a", **more)["Body"].read()

    await door.run(read)
    await door.run(client.close)


async def test_a_get_is_one_visit_with_exactly_its_bytes(door):
    await door.body("films/a")
    assert (today(door).visits, today(door).sent, today(door).swept, today(door).flags) == (1, SIZE, 0, 0)


async def test_ranges_of_one_client_within_15_minutes_are_one_visit_and_later_ones_another(door):
    for start in range(0, 1000, 100):
        await door.body("films/a", Range=f"bytes={start}-{start + 99}")
        door.clock.ns += MINUTE
    assert (today(door).visits, today(door).sent) == (1, 1000)
    door.clock.ns += 6 * MINUTE
    await door.body("films/a", Range="bytes=0-99")
    assert (today(door).visits, today(door).sent) == (2, 1100)


async def test_another_client_is_another_visit(door):
    await door.body("films/a")
    made = await door.engine.credentials.create("other", user="")
    other = door.client_for(made.access_key, made.secret_key)
    await door.run(lambda: other.get_object(Bucket="bucket", Key="films/a")["Body"].read())
    await door.run(other.close)
    assert today(door).visits == 2


async def test_head_and_not_modified_are_interest_and_no_visit(door):
    await door.call("head_object", Bucket="bucket", Key="films/a")
    assert (today(door).visits, today(door).sent, today(door).flags) == (0, 0, INTEREST)


async def test_an_answer_304_is_interest_and_no_visit(door):
    etag = (await door.engine.objects.head("bucket", b"films/a")).etag
    with pytest.raises(ClientError, match="304"):
        await door.call("get_object", Bucket="bucket", Key="films/a", IfNoneMatch=etag)
    assert (today(door).visits, today(door).sent, today(door).flags) == (0, 0, INTEREST)


async def test_listing_tags_acls_attributes_copies_scrub_moves_and_explain_count_for_nothing(door):
    for method, more in (
        ("list_objects_v2", {}),
        ("list_objects", {}),
        ("list_object_versions", {}),
        ("get_object_tagging", {"Key": "films/a"}),
        ("get_object_acl", {"Key": "films/a"}),
        ("get_object_attributes", {"Key": "films/a", "ObjectAttributes": ["ETag"]}),
    ):
        await door.call(method, Bucket="bucket", **more)
    engine = door.engine
    await engine.objects.copy("bucket", b"films/a", "bucket", b"copies/a", CopySpec())
    assert await engine.scrubber.step()
    await engine.tiering.explain_object("bucket", b"films/a")
    await engine.tiering.sentence("bucket", b"films/a")
    await engine.tiers.want_object(await engine.objects.head("bucket", b"films/a"), "warm", "TEST")
    await door.store.settle()
    assert await door.store.tier("films/a") == "warm"
    assert (today(door).visits, today(door).sent, today(door).swept, today(door).flags) == (0, 0, 0, 0)


@pytest.mark.parametrize("word", ["backup", "Sweep", "scan", "index", "sync"])
async def test_what_is_read_for_a_sweep_is_counted_apart(door, word):
    await purpose(door, word)
    assert (today(door).visits, today(door).sent, today(door).swept, today(door).flags) == (0, 0, SIZE, 0)


@pytest.mark.parametrize("word", ["none", "verify", "scrub", "replication"])
async def test_what_is_read_for_the_sake_of_the_store_is_not_counted(door, word):
    await purpose(door, word)
    assert (today(door).visits, today(door).sent, today(door).swept, today(door).flags) == (0, 0, 0, 0)


async def test_a_purpose_that_means_nothing_changes_nothing(door):
    await purpose(door, "fun")
    assert (today(door).visits, today(door).sent) == (1, SIZE)


async def test_what_a_backup_credential_reads_is_a_sweep(tmp_path):
    async with opened(tmp_path, backup_credentials=(ROOT.access_key,)) as door:
        await door.body("films/a")
        assert (today(door).visits, today(door).sent, today(door).swept) == (0, 0, SIZE)
        await door.call("head_object", Bucket="bucket", Key="films/a")
        assert today(door).flags == 0


async def test_only_what_was_really_sent_of_a_get_is_counted(door):
    await door.store.put("films/long", 40_000_000)
    (first, *_) = await door.store.volumes("films/long")
    body = (await door.call("get_object", Bucket="bucket", Key="films/long"))["Body"]
    await door.run(lambda: (body.read(1_000_000), body.close()))
    with trio.fail_after(10):
        while not door.engine.heat.today(first).sent:
            await trio.sleep(0.01)
    await trio.sleep(0.05)
    assert 0 < door.engine.heat.today(first).sent < 40_000_000


async def test_what_takes_the_place_of_something_is_write_hot_and_what_is_new_is_not(door):
    await door.store.put("films/new", SIZE)
    (new,) = await door.store.volumes("films/new")
    assert door.engine.heat.today(new).flags == 0
    await door.store.put("films/a", SIZE, seed=2)
    (over,) = await door.store.volumes("films/a")
    assert door.engine.heat.today(over).flags == WRITTEN


async def test_a_head_says_the_tier_and_the_reason_of_the_last_decision(door):
    def headers(answer):
        return answer["ResponseMetadata"]["HTTPHeaders"]

    found = headers(await door.call("head_object", Bucket="bucket", Key="films/a"))
    assert found["x-stratum-tier"] == "hot" and "x-stratum-tier-reason" not in found
    await door.store.days()
    found = headers(await door.call("head_object", Bucket="bucket", Key="films/a"))
    assert found["x-stratum-tier-reason"] in ("CHEAPEST", "WARM_UP", "PRIOR_ONLY", "INTEREST")
    assert headers(await door.call("get_object", Bucket="bucket", Key="films/a"))["x-stratum-tier-reason"]
