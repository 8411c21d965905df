"""Inventories: asked for over S3, written in their time into another bucket, whole or not at all."""

import csv
import gzip
import hashlib
import io
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from unittest.mock import patch
from urllib.parse import unquote

import pytest
import trio
from botocore.exceptions import ClientError

from stratum.core.inventory import FIELDS, next_due
from stratum.core.objects import ListQuery
from stratum.engine import inventories
from stratum.engine.engine import open_engine
from tests.engine.conftest import MASTERS, ROOT, body_of, read_all
from tests.engine.test_lifecycle import DAY, HandClock
from tests.engine.tiered import move, tiered_settings
from tests.s3.test_sts import serving

SOURCE = "arn:aws:s3:::bucket"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::lists/*",
            "Condition": {
                "ArnLike": {"aws:SourceArn": SOURCE},
                "StringEquals": {"aws:SourceAccount": "stratum", "s3:x-amz-acl": "bucket-owner-full-control"},
            },
        }
    ],
}


def asked(name="all", versions="All", frequency="Daily", fields=FIELDS, **more):
    return {
        "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::lists", "Format": "CSV", "Prefix": "inv"}},
        "IsEnabled": True,
        "Id": name,
        "IncludedObjectVersions": versions,
        "OptionalFields": list(fields),
        "Schedule": {"Frequency": frequency},
        **more,
    }


@asynccontextmanager
async def endpoint_at(folder, clock):
    settings = replace(tiered_settings(folder), day_seconds=DAY // 10**9)
    opening = open_engine(settings, root=ROOT, now_ns=clock, masters=MASTERS, cold=[])
    async with opening as engine, serving(engine) as made:
        yield made


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
async def endpoint(tmp_path, clock):
    async with endpoint_at(tmp_path, clock) as made:
        for bucket in ("bucket", "lists"):
            await made.call("create_bucket", Bucket=bucket)
        await made.call("put_bucket_policy", Bucket="lists", Policy=json.dumps(POLICY))
        yield made


async def put(endpoint, **more):
    wanted = asked(**more)
    await endpoint.call(
        "put_bucket_inventory_configuration", Bucket="bucket", Id=wanted["Id"], InventoryConfiguration=wanted
    )


async def lists(engine, bucket="lists") -> dict[str, bytes]:
    """Every object of the bucket of lists."""
    page = await engine.objects.list(bucket, ListQuery())
    return {each.key.decode(): await read_all(await engine.objects.open(bucket, each.key)) for each in page.objects}


async def rows_of(engine) -> list[dict[str, str]]:
    """The rows of the one list there is, every digest looked at."""
    found = await lists(engine)
    (name,) = [key for key in found if key.endswith("manifest.json")]
    told = json.loads(found[name])
    digest = hashlib.md5(found[name]).hexdigest()
    assert found[name.replace("manifest.json", "manifest.checksum")].decode() == digest
    columns, rows = told["fileSchema"].split(", "), []
    for file in told["files"]:
        packed = found[file["key"]]
        assert (len(packed), hashlib.md5(packed).hexdigest()) == (file["size"], file["MD5checksum"])
        text = gzip.decompress(packed).decode()
        assert text.count('"') % 2 == 0
        rows += [dict(zip(columns, row, strict=True)) for row in csv.reader(io.StringIO(text))]
    return rows


async def test_configurations_are_kept_shown_listed_and_taken_away(endpoint):
    arguments = {"Bucket": "bucket"}
    assert "InventoryConfigurationList" not in await endpoint.call("list_bucket_inventory_configurations", **arguments)
    more = {"Filter": {"Prefix": "a/"}}
    more["Destination"] = {
        "S3BucketDestination": {
            "AccountId": "123456789012",
            "Bucket": "arn:aws:s3:::lists",
            "Format": "CSV",
            "Encryption": {"SSEKMS": {"KeyId": "k"}},
        }
    }
    wanted = [asked(f"id-{number}", **(more if number else {})) for number in range(3)]
    for each in wanted:
        await endpoint.call(
            "put_bucket_inventory_configuration", Bucket="bucket", Id=each["Id"], InventoryConfiguration=each
        )
    got = await endpoint.call("get_bucket_inventory_configuration", Bucket="bucket", Id="id-1")
    assert got["InventoryConfiguration"] == wanted[1]
    page = await endpoint.call("list_bucket_inventory_configurations", **arguments)
    assert page["InventoryConfigurationList"] == wanted
    assert page["IsTruncated"] is False
    await endpoint.call("delete_bucket_inventory_configuration", Bucket="bucket", Id="id-1")
    for method in ("get_bucket_inventory_configuration", "delete_bucket_inventory_configuration"):
        with pytest.raises(ClientError, match="NoSuchConfiguration"):
            await endpoint.call(method, Bucket="bucket", Id="id-1")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Id": "other"}, "InvalidArgument"),
        ({"Schedule": {"Frequency": "Hourly"}}, "MalformedXML"),
        ({"IncludedObjectVersions": "Some"}, "MalformedXML"),
        ({"OptionalFields": ["Colour"]}, "MalformedXML"),
        ({"OptionalFields": ["ObjectAccessControlList"]}, "NotImplemented"),
        ({"Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::lists", "Format": "ORC"}}}, "NotImplemented"),
        ({"Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::gone", "Format": "CSV"}}}, "InvalidArgument"),
        ({"Destination": {"S3BucketDestination": {"Bucket": "lists", "Format": "CSV"}}}, "InvalidArgument"),
        ({"Filter": {"Prefix": "x" * 600}}, "InvalidArgument"),
    ],
)
async def test_what_is_not_understood_is_refused(endpoint, change, code):
    wanted = {**asked("id"), **change}
    with pytest.raises(ClientError) as caught:
        await endpoint.call(
            "put_bucket_inventory_configuration", Bucket="bucket", Id="id", InventoryConfiguration=wanted
        )
    assert caught.value.response["Error"]["Code"] == code


async def test_a_list_comes_at_the_next_midnight_and_says_of_every_version_what_is_so(endpoint, clock):
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    first = await endpoint.call("put_object", Bucket="bucket", Key='a/ä,"b"\n', Body=b"one")
    second = await endpoint.call(
        "put_object", Bucket="bucket", Key='a/ä,"b"\n', Body=b"second", ServerSideEncryption="AES256"
    )
    marker = await endpoint.call("delete_object", Bucket="bucket", Key='a/ä,"b"\n')
    await endpoint.call("put_object", Bucket="bucket", Key="plain", Body=b"x" * 20_000)
    await move(endpoint.engine, b"plain", "warm")
    await put(endpoint)
    await endpoint.engine.inventories.one_pass()
    assert await lists(endpoint.engine) == {}
    clock.midnight()
    await endpoint.engine.inventories.one_pass()
    rows = await rows_of(endpoint.engine)
    assert [row["VersionId"] for row in rows[:3]] == [marker["VersionId"], second["VersionId"], first["VersionId"]]
    assert {unquote(row["Key"]) for row in rows} == {'a/ä,"b"\n', "plain"}
    assert [(row["IsLatest"], row["IsDeleteMarker"]) for row in rows] == [
        ("true", "true"), ("false", "false"), ("false", "false"), ("true", "false"),
    ]  # fmt: skip
    assert [row["EncryptionStatus"] for row in rows] == ["", "SSE-S3", "NOT-SSE", "NOT-SSE"]
    assert [row["Size"] for row in rows] == ["", "6", "3", "20000"]
    assert rows[3]["IntelligentTieringAccessTier"] == "INFREQUENT"
    assert rows[3]["StorageClass"] == "STANDARD"
    assert rows[2]["ETag"] == first["ETag"].strip('"')
    assert rows[2]["ChecksumAlgorithm"] == "CRC32"
    await endpoint.engine.inventories.one_pass()
    assert len(await lists(endpoint.engine)) == 3, "once a day"
    clock.midnight(days=6)  # of ten seconds each here: a minute later, for the minute names a list
    await endpoint.engine.inventories.one_pass()
    assert len(await lists(endpoint.engine)) == 6


async def test_a_list_of_current_objects_below_a_prefix_has_just_these(endpoint, clock):
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    for key in ("a/1", "a/1", "a/2", "b"):
        await endpoint.call("put_object", Bucket="bucket", Key=key, Body=b"")
    await endpoint.call("delete_object", Bucket="bucket", Key="a/2")
    await put(endpoint, versions="Current", fields=["Size"], Filter={"Prefix": "a/"})
    clock.midnight()
    await endpoint.engine.inventories.one_pass()
    assert await rows_of(endpoint.engine) == [{"Bucket": "bucket", "Key": "a/1", "Size": "0"}]


async def test_a_list_goes_nowhere_where_a_policy_does_not_let_it(endpoint, clock):
    await put(endpoint)
    await endpoint.call("delete_bucket_policy", Bucket="lists")
    clock.midnight()
    await endpoint.engine.inventories.one_pass()
    assert await lists(endpoint.engine) == {}
    everyone = {**POLICY["Statement"][0], "Principal": "*"}
    del everyone["Condition"]
    text = json.dumps({"Version": "2012-10-17", "Statement": [everyone]})
    await endpoint.call("put_bucket_policy", Bucket="lists", Policy=text)
    clock.midnight()
    await endpoint.engine.inventories.one_pass()
    assert await lists(endpoint.engine) == {}
    assert endpoint.engine.inventories.failed == 2


async def test_a_list_of_many_files_goes_on_where_it_was_cut(tmp_path, clock):
    keys = [f"key-{number:04}" for number in range(250)]
    with patch.object(inventories, "FILE_BYTES", 2000), patch.object(inventories, "VERSIONS_AT_ONCE", 20):
        async with endpoint_at(tmp_path, clock) as endpoint:
            for bucket in ("bucket", "lists"):
                await endpoint.call("create_bucket", Bucket=bucket)
            await endpoint.call("put_bucket_policy", Bucket="lists", Policy=json.dumps(POLICY))
            for key in keys:
                await endpoint.engine.objects.put("bucket", key.encode(), body_of(b""), inventories.PutSpec())
            await put(endpoint, fields=["ETag"])
            clock.midnight()
            with trio.CancelScope() as scope:
                put_file, count = endpoint.engine.inventories._put, 0

                async def cut(*arguments):
                    nonlocal count
                    await put_file(*arguments)
                    count += 1
                    if count == 4:
                        scope.cancel()

                with patch.object(endpoint.engine.inventories, "_put", cut):
                    await endpoint.engine.inventories.one_pass()
            assert not [key for key in await lists(endpoint.engine) if "manifest" in key]
        async with endpoint_at(tmp_path, clock) as endpoint:
            with trio.fail_after(30):
                while not endpoint.engine.inventories.written:  # it goes on by itself
                    await trio.sleep(0.01)
            rows = await rows_of(endpoint.engine)
            assert [row["Key"] for row in rows] == keys


async def test_taking_a_configuration_or_the_bucket_away_ends_it(endpoint, clock):
    await put(endpoint)
    await endpoint.call("delete_bucket_inventory_configuration", Bucket="bucket", Id="all")
    await put(endpoint, IsEnabled=False)
    await put(endpoint, name="second")
    await endpoint.call("delete_bucket", Bucket="bucket")
    clock.midnight()
    await endpoint.engine.inventories.one_pass()
    assert await lists(endpoint.engine) == {}
    assert endpoint.engine.inventories.failed == 0


def test_weekly_lists_are_of_sundays():
    day = 86_400 * 10**9
    monday = 1_700_438_400 * 10**9  # 2023-11-20
    assert next_due(monday, day, "Weekly") == monday + 6 * day
    assert next_due(monday + 6 * day, day, "Weekly") == monday + 13 * day
    assert next_due(monday + 1, day, "Daily") == monday + day
