"""Replication: every version of a key gets there, in order and at least once, and never goes in circles."""

import json
import os
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio
from botocore.exceptions import ClientError

from stratum.core.config import ReplicationRemote
from stratum.core.encryption import SSE_C, CustomerKey, SealSpec
from stratum.core.errors import TooFewShards, Unavailable
from stratum.core.objects import PutSpec
from stratum.core.replication import HEADER, MARK, target_of
from stratum.engine.credentials import KeyPair
from stratum.engine.engine import open_engine
from stratum.engine.replications import Refused
from tests.engine.conftest import MASTERS, ROOT, Clock, body_of, settings_for
from tests.s3.test_sts import serving

ENABLED = {"Status": "Enabled"}


def rule(target="arn:aws:s3:::copy", markers=True, **more):
    return {
        "ID": more.pop("id", target),
        "Priority": 1,
        "Filter": {"Prefix": ""},
        "Status": "Enabled",
        "Destination": {"Bucket": target},
        "DeleteMarkerReplication": {"Status": "Enabled" if markers else "Disabled"},
        **more,
    }


@asynccontextmanager
async def endpoint_at(folder, *remotes, **limits):
    settings = replace(settings_for(folder, **limits), replication=remotes)
    opening = open_engine(settings, root=ROOT, now_ns=Clock(), masters=MASTERS)
    async with opening as engine, serving(engine) as made:
        yield made


@pytest.fixture
async def endpoint(tmp_path):
    async with endpoint_at(tmp_path) as made:
        await furnish(made, "bucket", "copy")
        yield made


async def furnish(endpoint, *buckets):
    for bucket in buckets:
        await endpoint.call("create_bucket", Bucket=bucket)
        await endpoint.call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration=ENABLED)


async def rules(endpoint, *wanted, bucket="bucket", client=None):
    configuration = {"Role": "arn:aws:iam::1:role/any", "Rules": list(wanted)}
    work = partial(
        (client or endpoint.client).put_bucket_replication,
        Bucket=bucket,
        ReplicationConfiguration=configuration,
    )
    await endpoint.run(work)


async def settled(endpoint):
    """Wait until nothing is to go any more."""
    with trio.fail_after(30):
        while endpoint.engine.meta.read(lambda txn: next(iter(txn.scan(b"O", b"P")), None)) is not None:
            await trio.sleep(0.005)


async def status(endpoint, key, bucket="bucket", **more):
    return (await endpoint.call("head_object", Bucket=bucket, Key=key, **more)).get("ReplicationStatus")


async def refused(endpoint, method, **arguments) -> str:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    return caught.value.response["Error"]["Code"]


# --- configurations -----------------------------------------------------------------------------------------------


async def test_rules_are_kept_shown_and_taken_away(endpoint):
    wanted = [
        rule(id="a", Filter={"And": {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}]}}, markers=False, Priority=2),
        rule(id="b", Filter={"Prefix": "b/"}),
    ]
    await rules(endpoint, *wanted)
    got = await endpoint.call("get_bucket_replication", Bucket="bucket")
    assert got["ReplicationConfiguration"] == {"Role": "arn:aws:iam::1:role/any", "Rules": wanted}
    state = {"Bucket": "bucket", "VersioningConfiguration": {"Status": "Suspended"}}
    assert await refused(endpoint, "put_bucket_versioning", **state) == "InvalidBucketState"
    await endpoint.call("delete_bucket_replication", Bucket="bucket")
    assert await refused(endpoint, "get_bucket_replication", Bucket="bucket") == (
        "ReplicationConfigurationNotFoundError"
    )
    old = {"ID": "old", "Prefix": "x", "Status": "Enabled", "Destination": {"Bucket": "arn:aws:s3:::copy"}}
    await rules(endpoint, old)
    got = await endpoint.call("get_bucket_replication", Bucket="bucket")
    assert got["ReplicationConfiguration"]["Rules"] == [old]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (rule("arn:aws:s3:::gone"), "InvalidRequest"),
        (rule("arn:aws:s3:::bucket"), "InvalidRequest"),
        (rule("arn:aws:s3:::plain"), "InvalidRequest"),
        (rule("arn:stratum:s3::nowhere:b"), "InvalidRequest"),
        (rule("copy"), "InvalidArgument"),
        (rule(Status="Maybe"), "MalformedXML"),
        (rule(Filter={"Tag": {"Key": "a", "Value": "b"}}), "InvalidRequest"),
        (rule(ExistingObjectReplication=ENABLED), "NotImplemented"),
        (rule(Destination={"Bucket": "arn:aws:s3:::copy", "ReplicationTime": {"Status": "Enabled", "Time": {}}}),
         "NotImplemented"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused(endpoint, wanted, code):
    await endpoint.call("create_bucket", Bucket="plain")
    configuration = {"Role": "r", "Rules": [wanted]}
    found = await refused(endpoint, "put_bucket_replication", Bucket="bucket", ReplicationConfiguration=configuration)
    assert found == code
    configuration = {"Role": "r", "Rules": [rule()]}
    assert (
        await refused(endpoint, "put_bucket_replication", Bucket="plain", ReplicationConfiguration=configuration)
        == "InvalidRequest"
    )


async def test_nobody_replicates_into_what_belongs_to_others_or_to_remotes_of_the_operator(tmp_path):
    remote = ReplicationRemote(name="far", access_key_ref="env:NOBODY", secret_key_ref="env:NOBODY")
    async with endpoint_at(tmp_path, remote) as endpoint:
        await furnish(endpoint, "copy")
        await endpoint.engine.users.create("Gina", user="gina")
        await endpoint.engine.credentials.create("", user="gina", pair=KeyPair("GINAKEY", "gina-secret"))
        client = endpoint.client_for("GINAKEY", "gina-secret")
        await endpoint.run(lambda: client.create_bucket(Bucket="ginas"))
        await endpoint.run(lambda: client.put_bucket_versioning(Bucket="ginas", VersioningConfiguration=ENABLED))
        for target in ("arn:aws:s3:::copy", "arn:stratum:s3::far:b"):
            with pytest.raises(ClientError, match="AccessDenied"):
                await rules(endpoint, rule(target), bucket="ginas", client=client)
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": "arn:aws:iam::gina:root"},
                    "Action": "s3:ReplicateObject",
                    "Resource": "arn:aws:s3:::copy/*",
                }
            ],
        }
        await endpoint.call("put_bucket_policy", Bucket="copy", Policy=json.dumps(policy))
        await rules(endpoint, rule(), bucket="ginas", client=client)
        await endpoint.run(lambda: client.put_object(Bucket="ginas", Key="k", Body=b"let in"))
        await settled(endpoint)
        assert await endpoint.body("k", "copy") == b"let in"
        await endpoint.call("delete_bucket_policy", Bucket="copy")
        await endpoint.run(lambda: client.put_object(Bucket="ginas", Key="k", Body=b"not any more"))
        await settled(endpoint)
        assert await endpoint.body("k", "copy") == b"let in"
        head = await endpoint.run(lambda: client.head_object(Bucket="ginas", Key="k"))
        assert head["ReplicationStatus"] == "FAILED"


# --- within a store -----------------------------------------------------------------------------------------------


async def test_versions_and_markers_go_where_the_rules_say_and_their_status_is_shown(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="before", Body=b"")
    await rules(
        endpoint,
        rule(id="all", Filter={"Prefix": "a/"}),
        rule(id="tagged", Filter={"Tag": {"Key": "k", "Value": "v"}}, markers=False, Priority=9),
    )
    await endpoint.call(
        "put_object", Bucket="bucket", Key="a/1", Body=b"one", Metadata={"m": "n"}, ContentType="text/x", Tagging="a=b"
    )
    await endpoint.call("put_object", Bucket="bucket", Key="a/1", Body=b"two")
    await endpoint.call("put_object", Bucket="bucket", Key="t", Body=b"tagged", Tagging="k=v")
    await endpoint.call("put_object", Bucket="bucket", Key="other", Body=b"")
    await endpoint.call("delete_object", Bucket="bucket", Key="a/2")
    await endpoint.call("put_object", Bucket="bucket", Key="a/3", Body=b"", ServerSideEncryption="AES256")
    await endpoint.call("delete_object", Bucket="bucket", Key="t")
    await settled(endpoint)
    found = await endpoint.call("list_object_versions", Bucket="copy")
    assert [each["Key"] for each in found["Versions"]] == ["a/1", "a/1", "a/3", "t"]
    assert "DeleteMarkers" not in found, "a/2 was not there, and the rule for tags has no markers"
    first = await endpoint.call("get_object", Bucket="copy", Key="a/1", VersionId=found["Versions"][1]["VersionId"])
    body = await endpoint.run(first["Body"].read)
    assert (body, first["ContentType"], first["TagCount"]) == (b"one", "text/x", 1)
    assert first["Metadata"]["m"] == "n" and MARK in first["Metadata"]
    assert await endpoint.body("a/1", "copy") == b"two"
    assert await status(endpoint, "a/1", "copy") == "REPLICA"
    assert await status(endpoint, "a/1") == "COMPLETED"
    assert await status(endpoint, "other") is None
    assert (await endpoint.call("head_object", Bucket="copy", Key="a/3"))["ServerSideEncryption"] == "AES256"
    await endpoint.call("delete_object", Bucket="bucket", Key="a/1")
    await settled(endpoint)
    assert await refused(endpoint, "head_object", Bucket="copy", Key="a/1") == "404"


async def test_two_buckets_that_replicate_into_each_other_come_to_rest_with_the_same(endpoint):
    await rules(endpoint, rule("arn:aws:s3:::copy"))
    await rules(endpoint, rule("arn:aws:s3:::bucket"), bucket="copy")
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"one")
    await endpoint.call("delete_object", Bucket="bucket", Key="k")
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"two")
    await endpoint.call("put_object", Bucket="copy", Key="other", Body=b"three")
    await settled(endpoint)
    shown = {}
    for bucket in ("bucket", "copy"):
        found = await endpoint.call("list_object_versions", Bucket=bucket)
        shown[bucket] = [(each["Key"], each["Size"]) for each in found["Versions"]], len(found["DeleteMarkers"])
    assert shown["bucket"] == shown["copy"] == ([("k", 3), ("k", 3), ("other", 5)], 1)


async def test_a_copy_of_a_replica_is_no_replica(endpoint):
    await furnish(endpoint, "third")
    await rules(endpoint, rule("arn:aws:s3:::copy"))
    await rules(endpoint, rule("arn:aws:s3:::third"), bucket="copy")
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"one")
    await settled(endpoint)
    assert await refused(endpoint, "head_object", Bucket="third", Key="k") == "404"
    version = (await endpoint.call("head_object", Bucket="copy", Key="k"))["VersionId"]
    await endpoint.call("copy_object", Bucket="copy", Key="k", CopySource=f"copy/k?versionId={version}")
    await settled(endpoint)
    assert await endpoint.body("k", "third") == b"one"


async def test_what_only_its_owner_can_open_fails_and_does_not_stop_the_others(endpoint):
    await rules(endpoint, rule())
    customer = CustomerKey(b"k" * 32, "6XQp5U6Tk3iHsaQV5sSRjA==")
    seal = SealSpec(scheme=SSE_C, customer=customer)
    await endpoint.engine.objects.put("bucket", b"mine", body_of(b"x"), PutSpec(seal=seal))
    await endpoint.call("put_object", Bucket="bucket", Key="plain", Body=b"x")
    await settled(endpoint)
    assert (await endpoint.engine.objects.head("bucket", b"mine")).inode.replication == "FAILED"
    assert await status(endpoint, "plain") == "COMPLETED"


@pytest.mark.parametrize("method", ["put_object", "create_multipart_upload"])
async def test_only_who_may_replicate_says_that_something_is_a_replica(endpoint, method):
    await endpoint.engine.users.create("Hank", user="hank")
    await endpoint.engine.credentials.create("", user="hank", pair=KeyPair("HANKKEY", "hank-secret"))
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam:::user/hank"},
        "Action": ["s3:PutObject", "s3:DeleteObject"],
        "Resource": "arn:aws:s3:::bucket/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await endpoint.call("put_bucket_policy", Bucket="bucket", Policy=policy)
    client = endpoint.client_for("HANKKEY", "hank-secret")
    await endpoint.run(lambda: getattr(client, method)(Bucket="bucket", Key="k", Metadata={"a": "b"}))
    with pytest.raises(ClientError, match="AccessDenied"):
        await endpoint.run(lambda: getattr(client, method)(Bucket="bucket", Key="k", Metadata={MARK: "a/b/c/d"}))

    def marked(params, **_):
        params["headers"][HEADER] = "delete"

    client.meta.events.register("before-call.s3.DeleteObject", marked)
    with pytest.raises(ClientError, match="AccessDenied"):
        await endpoint.run(lambda: client.delete_object(Bucket="bucket", Key="k"))


def test_targets_are_named_by_arns():
    for arn in ("arn:aws:s3:::a", "arn:stratum:s3::far:a"):
        assert target_of(arn).arn == arn
    for arn in ("", "a", "arn:aws:s3:::", "arn:stratum:s3::far", "arn:stratum:s3:::a", "arn:stratum:s3::far:"):
        assert target_of(arn) is None


# --- to a remote ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def two_stores(folder, monkeypatch, back=False):
    """Two stores; the first knows the second as `far` (and, if `back`, the other way round)."""
    monkeypatch.setenv("FAR_ACCESS", ROOT.access_key)
    monkeypatch.setenv("FAR_SECRET", ROOT.secret_key)

    def remote(port):
        return ReplicationRemote(
            name="far",
            endpoint_url=f"http://127.0.0.1:{port}",
            access_key_ref="env:FAR_ACCESS",
            secret_key_ref="env:FAR_SECRET",
            addressing="path",
            allow_private=True,
        )

    async with endpoint_at(folder / "far") as far:
        await furnish(far, "there")
        async with endpoint_at(folder / "near", remote(far.port)) as near:
            await furnish(near, "bucket")
            await rules(near, rule("arn:stratum:s3::far:there"))
            yield near, far


async def test_a_remote_gets_everything_in_order_small_and_large(tmp_path, monkeypatch):
    monkeypatch.setattr("stratum.store.replicas.WHOLE_BYTES", 1 << 20)
    monkeypatch.setattr("stratum.store.replicas.PART_BYTES", 5 << 20)
    large = os.urandom(11 << 20)
    async with two_stores(tmp_path, monkeypatch) as (near, far):
        for number in range(5):
            await near.call("put_object", Bucket="bucket", Key="k", Body=b"%d" % number, Metadata={"n": str(number)})
        await near.call(
            "put_object", Bucket="bucket", Key="large", Body=large, Tagging="a=b%20c", CacheControl="no-cache"
        )
        await near.call("put_object", Bucket="bucket", Key="gone", Body=b"")
        await near.call("delete_object", Bucket="bucket", Key="gone")
        await settled(near)
        found = await far.call("list_object_versions", Bucket="there")
        bodies = [
            await far.body("k", "there", VersionId=each["VersionId"])
            for each in found["Versions"]
            if each["Key"] == "k"
        ]
        assert bodies == [b"4", b"3", b"2", b"1", b"0"]
        assert [each["Key"] for each in found["DeleteMarkers"]] == ["gone"]
        assert await far.body("large", "there") == large
        head = await far.call("head_object", Bucket="there", Key="large")
        assert (head["CacheControl"], head["TagCount"], head["ReplicationStatus"]) == ("no-cache", 1, "REPLICA")
        assert await status(near, "large") == "COMPLETED"
        standing = near.engine.replications.standing["far/there"]
        assert (standing.sent, standing.failed, standing.trouble) == (8, 0, "")


async def test_what_was_sent_and_not_noted_is_not_stored_twice(tmp_path, monkeypatch):
    async with two_stores(tmp_path, monkeypatch) as (near, far):
        sent = near.engine.replications._send

        async def twice(version):
            await sent(version)
            return await sent(version)

        monkeypatch.setattr(near.engine.replications, "_send", twice)
        await near.call("put_object", Bucket="bucket", Key="k", Body=b"x")
        await near.call("delete_object", Bucket="bucket", Key="k")
        await settled(near)
        found = await far.call("list_object_versions", Bucket="there")
        assert (len(found["Versions"]), len(found["DeleteMarkers"])) == (1, 1)


async def test_a_remote_that_is_away_is_waited_for_and_nothing_is_lost_over_a_restart(tmp_path, monkeypatch):
    class Away:
        async def replicate(self, *arguments):
            raise Unavailable("away")

        remove = replicate

        async def run(self):
            await trio.sleep_forever()

    class There(Away):
        def __init__(self):
            self.got = []

        async def replicate(self, bucket, key, view, metadata, storage_class, stream):
            self.got.append((bucket, key, b"".join([piece async for piece in stream()])))

        async def remove(self, bucket, key):
            self.got.append((bucket, key, None))

    remote = ReplicationRemote(name="far", access_key_ref="env:NOBODY", secret_key_ref="env:NOBODY")
    async with endpoint_at(tmp_path, remote) as endpoint:
        endpoint.engine.replications.remotes["far"] = Away()
        await furnish(endpoint, "bucket", "copy")
        await rules(endpoint, rule("arn:stratum:s3::far:b", id="far"), rule(id="near", Priority=2))
        await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"one")
        await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"two")
        await endpoint.call("delete_object", Bucket="bucket", Key="k")
        with trio.fail_after(30):
            while not endpoint.engine.replications.standing.get("far/b") or not (
                endpoint.engine.replications.standing["far/b"].trouble
            ):
                await trio.sleep(0.005)
        first = (await endpoint.call("list_object_versions", Bucket="bucket"))["Versions"][-1]["VersionId"]
        assert await status(endpoint, "k", VersionId=first) == "PENDING"
    there = There()
    async with endpoint_at(tmp_path, remote) as endpoint:
        endpoint.engine.replications.remotes["far"] = there
        await endpoint.engine.replications.one_pass("far/b")
        await settled(endpoint)
        assert [row[2] for row in there.got][-3:] == [b"one", b"two", None]
        assert await status(endpoint, "k", VersionId=first) == "COMPLETED"
        assert len((await endpoint.call("list_object_versions", Bucket="copy"))["Versions"]) == 2


async def test_a_full_queue_is_told_at_once(tmp_path):
    remote = ReplicationRemote(name="far", access_key_ref="env:NOBODY", secret_key_ref="env:NOBODY")
    async with endpoint_at(tmp_path, remote, replications=2) as endpoint:
        await furnish(endpoint, "bucket")
        await rules(endpoint, rule("arn:stratum:s3::far:b"))
        for key in ("1", "2", "3"):
            await endpoint.call("put_object", Bucket="bucket", Key=key, Body=b"")
        assert [await status(endpoint, key) for key in ("1", "2", "3")] == ["PENDING", "PENDING", "FAILED"]


def test_refusals_are_for_good():
    assert not issubclass(Refused, Unavailable)


async def test_what_cannot_be_read_stops_nobody_and_goes_once_it_can_be(tmp_path, monkeypatch):
    async with two_stores(tmp_path, monkeypatch) as (near, far):
        contents, broken = near.engine.contents, True
        stream = contents.stream

        async def damaged(spans, start, stop):
            async with aclosing(stream(spans, start, stop)) as pieces:
                async for piece in pieces:
                    if broken and piece == b"lost":
                        raise TooFewShards("two shards are left of it")
                    yield piece

        monkeypatch.setattr(contents, "stream", damaged)
        monkeypatch.setattr("stratum.engine.replications.PAUSE", 0.01)
        for key, body in (("a", b"lost"), ("b", b"lost"), ("c", b"fine")):
            await near.call("put_object", Bucket="bucket", Key=key, Body=body)
        with trio.fail_after(30):
            while await status(near, "c") != "COMPLETED" or await status(near, "b") != "FAILED":
                await trio.sleep(0.005)
        assert await status(near, "a") == "FAILED"
        await near.call("put_object", Bucket="bucket", Key="b", Body=b"later")
        with trio.fail_after(30):
            while await status(near, "b") != "COMPLETED":
                await trio.sleep(0.005)
        with trio.fail_after(30):
            while not near.engine.replications.standing["far/there!later"].trouble:
                await trio.sleep(0.005)
        broken = False
        await settled(near)
        assert await status(near, "a") == "COMPLETED"
        assert [await far.body(key, "there") for key in "abc"] == [b"lost", b"later", b"fine"]
        lost = (await near.call("list_object_versions", Bucket="bucket", Prefix="b"))["Versions"][1]["VersionId"]
        assert await status(near, "b", VersionId=lost) == "FAILED", "the later version went before it"


@pytest.mark.parametrize("where", ["copy", "far"])
async def test_tags_that_change_afterwards_go_to_the_replica_of_that_version(tmp_path, monkeypatch, where):
    async with two_stores(tmp_path, monkeypatch) as (near, far):
        await furnish(near, "copy")
        target, bucket = (near, "copy") if where == "copy" else (far, "there")
        if where == "copy":
            await rules(near, rule())
        first = (await near.call("put_object", Bucket="bucket", Key="k", Body=b"1", Tagging="a=b"))["VersionId"]
        await settled(near)
        await near.call(
            "put_object_tagging", Bucket="bucket", Key="k", Tagging={"TagSet": [{"Key": "c", "Value": "d"}]}
        )
        await settled(near)
        assert (await target.call("get_object_tagging", Bucket=bucket, Key="k"))["TagSet"] == [
            {"Key": "c", "Value": "d"}
        ]
        assert await status(near, "k") == "COMPLETED"
        await near.call("put_object", Bucket="bucket", Key="k", Body=b"2", Tagging="x=y")
        await near.call("delete_object_tagging", Bucket="bucket", Key="k", VersionId=first)
        await settled(near)
        assert (await target.call("get_object_tagging", Bucket=bucket, Key="k"))["TagSet"] == [
            {"Key": "x", "Value": "y"}
        ]
        versions = (await target.call("list_object_versions", Bucket=bucket))["Versions"]
        assert len(versions) == 2
        if where == "copy":
            old = {"Bucket": bucket, "Key": "k", "VersionId": versions[1]["VersionId"]}
            assert (await target.call("get_object_tagging", **old))["TagSet"] == []
