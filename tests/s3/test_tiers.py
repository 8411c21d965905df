"""Tiers as S3 clients see them: a header says where, a class shows once it is true, and everything is read at once."""

import os
import random
import time
from dataclasses import replace
from functools import partial

import pytest
import trio
from botocore.exceptions import ClientError

from stratum.engine.engine import open_engine
from stratum.s3.app import make_app
from stratum.s3.door import S3Door
from stratum.s3.hosts import Hosts
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.store.guarded import Guarded
from tests.engine.conftest import MASTERS, ROOT, Clock
from tests.engine.tiered import move, tiered_settings
from tests.fakes.backend import FakeBackend
from tests.s3.conftest import Endpoint

os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
BODY = random.Random(1).randbytes(300_000)
CLASSES = (("GLACIER", "cold"), ("STANDARD_IA", "warm"))


@pytest.fixture
def cold():
    return FakeBackend()


@pytest.fixture
async def tiered(tmp_path, cold):
    settings = replace(tiered_settings(tmp_path, seal_delay=0.001), storage_classes=CLASSES)
    guarded = Guarded(cold, settings.limits, chance=lambda: 0.0)
    async with open_engine(settings, root=ROOT, now_ns=Clock(), masters=MASTERS, cold=[guarded]) as engine:
        door, stop = S3Door(engine, now_s=lambda: int(time.time())), trio.Event()
        async with trio.open_nursery() as nursery:
            app = make_app(door, None, Hosts.of(settings))
            serve = partial(serve_app, app, open_listener("127.0.0.1", 0), stop=stop.wait, grace=1.0, serving=Serving())
            made = Endpoint(engine, (await nursery.start(serve)).port)
            await made.call("create_bucket", Bucket="bucket")
            yield made
            await made.run(made.client.close)
            stop.set()


async def until_moved(endpoint, key, tier):
    with trio.fail_after(30):
        while endpoint.engine.tiers.tier_of(await endpoint.engine.objects.head("bucket", key)).summary != tier:
            endpoint.engine.tiers.mover.put_off.clear()
            endpoint.engine.tiers.mover.expect(1)
            await trio.sleep(0.01)


async def tier_in_head(endpoint, key):
    answer = await endpoint.call("head_object", Bucket="bucket", Key=key)
    return answer["ResponseMetadata"]["HTTPHeaders"]["x-stratum-tier"], answer.get("StorageClass")


async def test_a_class_shows_everywhere_once_its_tier_holds_the_bytes_and_not_before(tiered, cold):
    cold.fault = lambda verb: "503"
    await tiered.call("put_object", Bucket="bucket", Key="k", Body=BODY, StorageClass="GLACIER")
    assert await tier_in_head(tiered, "k") == ("hot", None)
    listed = (await tiered.call("list_objects_v2", Bucket="bucket"))["Contents"]
    assert listed[0]["StorageClass"] == "STANDARD"
    cold.fault = lambda verb: None
    await until_moved(tiered, b"k", "cold")
    assert await tier_in_head(tiered, "k") == ("cold", "GLACIER")
    for method, rows in (("list_objects_v2", "Contents"), ("list_object_versions", "Versions")):
        assert (await tiered.call(method, Bucket="bucket"))[rows][0]["StorageClass"] == "GLACIER"
    attributes = await tiered.call("get_object_attributes", Bucket="bucket", Key="k", ObjectAttributes=["StorageClass"])
    assert attributes["StorageClass"] == "GLACIER"
    assert await tiered.body("k") == BODY


async def test_what_is_in_an_archive_counts_as_restored(tiered):
    await tiered.call("put_object", Bucket="bucket", Key="k", Body=BODY, StorageClass="GLACIER")
    await until_moved(tiered, b"k", "cold")
    head = await tiered.call("head_object", Bucket="bucket", Key="k")
    assert 'ongoing-request="false"' in head["Restore"]
    restored = await tiered.call("restore_object", Bucket="bucket", Key="k", RestoreRequest={"Days": 1})
    assert restored["ResponseMetadata"]["HTTPStatusCode"] == 200


async def test_a_move_changes_neither_etag_nor_date_nor_body(tiered):
    await tiered.call("put_object", Bucket="bucket", Key="k", Body=BODY)
    before = await tiered.call("get_object", Bucket="bucket", Key="k")
    for tier in ("warm", "cold", "hot"):
        await move(tiered.engine, b"k", tier)
        after = await tiered.call("get_object", Bucket="bucket", Key="k")
        assert (after["ETag"], after["LastModified"]) == (before["ETag"], before["LastModified"])
        assert await tiered.body("k") == BODY
        assert await tiered.body("k", Range="bytes=100000-100009") == BODY[100000:100010]
        assert await tier_in_head(tiered, "k") == (tier, None)


async def test_a_cold_object_whose_backend_is_down_is_unavailable_and_never_not_found(tiered, cold):
    await tiered.call("put_object", Bucket="bucket", Key="k", Body=BODY)
    await move(tiered.engine, b"k", "cold")
    for fault in ("403", "503"):
        cold.fault = lambda verb, fault=fault: fault
        with pytest.raises(ClientError) as caught:
            await tiered.body("k")
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    cold.fault = lambda verb: None
    cold.objects.clear()
    with pytest.raises(ClientError) as caught:
        await tiered.body("k")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


async def test_a_class_without_a_tier_is_refused(tiered):
    with pytest.raises(ClientError) as caught:
        await tiered.call("put_object", Bucket="bucket", Key="k", Body=BODY, StorageClass="DEEP_ARCHIVE")
    assert caught.value.response["Error"]["Code"] == "InvalidStorageClass"


async def test_a_store_with_one_tier_says_hot(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=BODY)
    assert await tier_in_head(endpoint, "k") == ("hot", None)
