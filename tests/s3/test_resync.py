"""What was in a bucket before its replication goes too, when it is asked for: in order, in slices, over restarts."""

import pytest
import trio

from stratum.core.errors import InvalidArgument, NoSuchBucket
from stratum.engine import resyncs
from tests.s3.test_replication import endpoint_at, furnish, rule, rules, settled, status


@pytest.fixture
async def endpoint(tmp_path):
    async with endpoint_at(tmp_path) as made:
        await furnish(made, "bucket", "copy")
        yield made


async def shown(endpoint, bucket="bucket"):
    return dict(await endpoint.engine.resyncs.found())[bucket]


async def resync(endpoint, bucket="bucket"):
    await endpoint.engine.resyncs.begin(bucket)
    return await ended(endpoint, bucket)


async def ended(endpoint, bucket="bucket"):
    with trio.fail_after(30):
        while not (await shown(endpoint, bucket)).ended:
            await trio.sleep(0.005)
    await settled(endpoint)
    return await shown(endpoint, bucket)


async def nothing(self):
    pass


async def put(endpoint, key, *bodies, **more):
    for body in bodies:
        if body is None:
            await endpoint.call("delete_object", Bucket="bucket", Key=key)
        else:
            await endpoint.call("put_object", Bucket="bucket", Key=key, Body=body, **more)


async def bodies(endpoint, key, bucket="copy"):
    """Of all versions of a key, oldest first; None: a delete marker."""
    found = await endpoint.call("list_object_versions", Bucket=bucket, Prefix=key)
    shown = [(each["LastModified"], each["VersionId"], False) for each in found.get("Versions", [])]
    shown += [(each["LastModified"], each["VersionId"], True) for each in found.get("DeleteMarkers", [])]
    return [
        None if marker else await endpoint.body(key, bucket, VersionId=version)
        for _, version, marker in sorted(shown, key=lambda each: each[1])
    ]


async def test_every_version_from_before_goes_in_its_order_and_shows_its_status(endpoint):
    await put(endpoint, "a/k", b"1", b"2", b"3", Metadata={"m": "n"})
    await put(endpoint, "a/gone", b"1", None)
    await put(endpoint, "other", b"x")
    await rules(endpoint, rule(Filter={"Prefix": "a/"}))
    done = await resync(endpoint)
    assert await bodies(endpoint, "a/k") == [b"1", b"2", b"3"]
    assert await bodies(endpoint, "a/gone") == [b"1", None]
    assert await bodies(endpoint, "other") == []
    assert (done.looked, done.queued, done.behind, done.ended > 0) == (6, 5, 0, True)
    assert (await status(endpoint, "a/k"), await status(endpoint, "other")) == ("COMPLETED", None)


async def test_it_does_no_harm_to_do_it_again_or_where_some_have_gone(endpoint):
    await put(endpoint, "old", b"1", b"2")
    await put(endpoint, "both", b"before")
    await rules(endpoint, rule())
    await put(endpoint, "both", b"after")
    await put(endpoint, "new", b"1", b"2", None)
    await settled(endpoint)
    for round_number in range(3):
        done = await resync(endpoint)
        assert await bodies(endpoint, "old") == [b"1", b"2"]
        assert await bodies(endpoint, "both") == [b"after"], "what is older would stand above it"
        assert await bodies(endpoint, "new") == [b"1", b"2", None]
        assert done.behind == 1, round_number


async def test_what_a_target_lost_or_a_new_target_never_had_goes(endpoint):
    await rules(endpoint, rule())
    await put(endpoint, "k", b"1")
    await settled(endpoint)
    found = await endpoint.call("list_object_versions", Bucket="copy")
    await endpoint.call("delete_object", Bucket="copy", Key="k", VersionId=found["Versions"][0]["VersionId"])
    await furnish(endpoint, "third")
    await rules(endpoint, rule(), rule("arn:aws:s3:::third", Priority=2))
    await resync(endpoint)
    assert (await bodies(endpoint, "k"), await bodies(endpoint, "k", "third")) == ([b"1"], [b"1"])
    assert await status(endpoint, "k") == "COMPLETED"


async def test_two_buckets_that_replicate_into_each_other_do_not_send_replicas_back(endpoint):
    await put(endpoint, "k", b"1")
    await rules(endpoint, rule())
    await rules(endpoint, rule("arn:aws:s3:::bucket"), bucket="copy")
    await resync(endpoint)
    await resync(endpoint, "copy")
    assert (await bodies(endpoint, "k"), await bodies(endpoint, "k", "bucket")) == ([b"1"], [b"1"])


async def test_what_is_older_than_a_replica_does_not_go_back_over_what_it_is_a_replica_of(endpoint):
    await endpoint.call("put_object", Bucket="copy", Key="k", Body=b"old")
    await rules(endpoint, rule())
    await rules(endpoint, rule("arn:aws:s3:::bucket"), bucket="copy")
    await put(endpoint, "k", b"new")
    await settled(endpoint)
    assert (await resync(endpoint, "copy")).behind == 1
    assert await endpoint.body("k", "copy") == await endpoint.body("k") == b"new"


async def test_it_ends_with_the_rules(endpoint, monkeypatch):
    await put(endpoint, "k", b"1")
    await rules(endpoint, rule())
    with monkeypatch.context() as patch:
        patch.setattr(resyncs.Resyncs, "one_pass", nothing)  # of the service
        await endpoint.engine.resyncs.begin("bucket")
        await endpoint.call("delete_bucket_replication", Bucket="bucket")
    await endpoint.engine.resyncs.one_pass()
    assert (await shown(endpoint)).ended
    assert await bodies(endpoint, "k") == []


async def test_it_goes_on_after_a_restart_where_it_stood(tmp_path, monkeypatch):
    monkeypatch.setattr(resyncs, "KEYS_AT_ONCE", 2)
    async with endpoint_at(tmp_path) as endpoint:
        await furnish(endpoint, "bucket", "copy")
        for number in range(7):
            await put(endpoint, f"k{number}", b"x")
        await rules(endpoint, rule())
        with monkeypatch.context() as patch:
            patch.setattr(resyncs.Resyncs, "one_pass", nothing)  # of the service
            await endpoint.engine.resyncs.begin("bucket")
            await endpoint.engine.resyncs.one_step("bucket")
        seen = await shown(endpoint)
        assert (seen.after, seen.looked, seen.ended) == (b"k1", 2, 0)
    async with endpoint_at(tmp_path) as endpoint:
        seen = await ended(endpoint)
        assert (seen.looked, seen.queued, seen.ended > 0) == (7, 7, True)
        assert len((await endpoint.call("list_objects_v2", Bucket="copy"))["Contents"]) == 7


async def test_it_waits_while_much_is_to_go_so_that_nothing_is_refused_for_want_of_room(tmp_path, monkeypatch):
    monkeypatch.setattr(resyncs, "PAUSE", 0.01)
    async with endpoint_at(tmp_path, replications=8) as endpoint:
        await furnish(endpoint, "bucket", "copy")
        for number in range(30):
            await put(endpoint, f"k{number:02}", b"x")
        await rules(endpoint, rule())
        await resync(endpoint)
        assert {await status(endpoint, f"k{number:02}") for number in range(30)} == {"COMPLETED"}


async def test_it_needs_rules_and_can_be_stopped(endpoint, monkeypatch):
    with pytest.raises(NoSuchBucket):
        await endpoint.engine.resyncs.begin("nowhere")
    with pytest.raises(InvalidArgument, match="no replication"):
        await endpoint.engine.resyncs.begin("bucket")
    await put(endpoint, "k", b"1")
    await rules(endpoint, rule())
    with monkeypatch.context() as patch:
        patch.setattr(resyncs.Resyncs, "one_pass", nothing)  # of the service
        await endpoint.engine.resyncs.begin("bucket")
        await endpoint.engine.resyncs.stop("bucket")
    await endpoint.engine.resyncs.one_pass()
    assert await bodies(endpoint, "k") == []
    assert await endpoint.engine.resyncs.found() == []
