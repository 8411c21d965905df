"""RenameObject: the same object under another key, in one step."""

from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from stratum.core.schema import ROOT_INODE
from stratum.engine.file_names import Caller
from stratum.s3.errors import S3Error
from stratum.s3.rename import rename_source


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def renaming(source: str, key: str, **more: str) -> dict:
    return {"Bucket": "bucket", "Key": key, "RenameSource": quote(source), **more}


async def keys(endpoint) -> list[str]:
    listed = await endpoint.call("list_objects_v2", Bucket="bucket")
    return [each["Key"] for each in listed.get("Contents", [])]


@pytest.mark.parametrize(
    ("value", "key"),
    [("k", b"k"), ("a/b", b"a/b"), ("a%20b%2Fc", b"a b/c"), ("/bucket/a/b", b"a/b"), ("%2Fk", b"/k"), ("a+b", b"a+b")],
)
def test_the_source_is_a_key_or_a_path_with_the_bucket(value, key):
    assert rename_source(value, "bucket") == key


@pytest.mark.parametrize("value", ["", "/other/k", "/bucket/", "/bucket", "%FF"])
def test_a_source_elsewhere_or_nowhere_is_refused(value):
    with pytest.raises(S3Error):
        rename_source(value, "bucket")


async def test_a_rename_keeps_everything_but_the_key(endpoint):
    await endpoint.call(
        "put_object", Bucket="bucket", Key="a/old", Body=b"x" * 5000, Metadata={"m": "1"}, Tagging="t=1"
    )
    before = await endpoint.call("head_object", Bucket="bucket", Key="a/old", ChecksumMode="ENABLED")
    inode = (await endpoint.engine.objects.head("bucket", b"a/old")).inode_number
    await endpoint.call("rename_object", **renaming("a/old", "b/new"))
    after = await endpoint.call("head_object", Bucket="bucket", Key="b/new", ChecksumMode="ENABLED")
    kept = ("ETag", "LastModified", "Metadata", "TagCount", "ContentLength", "ChecksumCRC32")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert await keys(endpoint) == ["b/new"] and await endpoint.body("b/new") == b"x" * 5000
    assert (await endpoint.engine.objects.head("bucket", b"b/new")).inode_number == inode


async def test_a_rename_replaces_what_was_there_unless_told_not_to(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="old", Body=b"old")
    there = await endpoint.call("put_object", Bucket="bucket", Key="new", Body=b"new")
    assert await refused(endpoint, "rename_object", **renaming("old", "new", DestinationIfNoneMatch="*")) == (
        412,
        "PreconditionFailed",
    )
    assert await refused(endpoint, "rename_object", **renaming("old", "new", SourceIfMatch=there["ETag"])) == (
        412,
        "PreconditionFailed",
    )
    assert await keys(endpoint) == ["new", "old"] and await endpoint.body("new") == b"new"
    await endpoint.call("rename_object", **renaming("old", "new", DestinationIfMatch=there["ETag"]))
    assert await keys(endpoint) == ["new"] and await endpoint.body("new") == b"old"


@pytest.mark.parametrize(
    ("source", "key", "answer"),
    [
        ("none", "new", (404, "NoSuchKey")),
        ("k", "k", (400, "InvalidRequest")),
        ("k", "folder/", (400, "InvalidRequest")),
        ("folder/", "new", (400, "InvalidRequest")),
        ("k", "n" * 1025, (400, "KeyTooLongError")),
    ],
)
async def test_what_cannot_be_renamed_stays(endpoint, source, key, answer):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    assert await refused(endpoint, "rename_object", **renaming(source, key)) == answer
    assert await keys(endpoint) == ["k"]


async def test_an_object_may_be_renamed_below_its_own_name_and_back(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="a", Body=b"x")
    await endpoint.call("rename_object", **renaming("a", "a/b/c"))
    assert await keys(endpoint) == ["a/b/c"]
    await endpoint.call("rename_object", **renaming("a/b/c", "a"))
    assert await keys(endpoint) == ["a"] and await endpoint.body("a") == b"x"


async def test_with_versioning_the_old_key_keeps_its_history(endpoint):
    enabled = {"Status": "Enabled"}
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration=enabled)
    old = await endpoint.call("put_object", Bucket="bucket", Key="old", Body=b"x")
    before = await endpoint.call("head_object", Bucket="bucket", Key="old")
    await endpoint.call("rename_object", **renaming("old", "new"))
    after = await endpoint.call("head_object", Bucket="bucket", Key="new")
    assert (after["ETag"], after["LastModified"]) == (before["ETag"], before["LastModified"])
    assert await keys(endpoint) == ["new"]
    listed = await endpoint.call("list_object_versions", Bucket="bucket")
    assert [(each["Key"], each["IsLatest"]) for each in listed["DeleteMarkers"]] == [("old", True)]
    assert await endpoint.body("old", VersionId=old["VersionId"]) == b"x"


async def test_a_lock_goes_along_and_stays_behind(endpoint):
    await endpoint.call("create_bucket", Bucket="vault", ObjectLockEnabledForBucket=True)
    held = {"Bucket": "vault", "Key": "old"}
    put = await endpoint.call("put_object", **held, Body=b"x", ObjectLockLegalHoldStatus="ON")
    await endpoint.call("rename_object", **renaming("old", "new") | {"Bucket": "vault"})
    new = await endpoint.call("head_object", Bucket="vault", Key="new")
    assert new["ObjectLockLegalHoldStatus"] == "ON"
    for key, version in (("old", put["VersionId"]), ("new", new["VersionId"])):
        assert await refused(endpoint, "delete_object", Bucket="vault", Key=key, VersionId=version) == (
            403,
            "AccessDenied",
        )


@pytest.mark.parametrize("versioned", [False, True])
async def test_a_symlink_of_the_mount_can_be_copied_and_renamed(endpoint, versioned):
    names = endpoint.engine.files.names
    root, _ = names.lookup(ROOT_INODE, b"bucket")
    await names.symlink(root, b"link", b"target/of/it", Caller(0, 0))
    if versioned:
        enabled = {"Status": "Enabled"}
        await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration=enabled)
    await endpoint.call("copy_object", Bucket="bucket", Key="copy", CopySource={"Bucket": "bucket", "Key": "link"})
    await endpoint.call("rename_object", **renaming("link", "moved"))
    assert await keys(endpoint) == ["copy", "moved"]
    assert await endpoint.body("copy") == await endpoint.body("moved") == b"target/of/it"
    upload = await endpoint.call("create_multipart_upload", Bucket="bucket", Key="m")
    part = {"Bucket": "bucket", "Key": "m", "UploadId": upload["UploadId"], "PartNumber": 1}
    source = {"Bucket": "bucket", "Key": "moved"}
    copied = await endpoint.call("upload_part_copy", **part, CopySource=source, CopySourceRange="bytes=7-8")
    parts = {"Parts": [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]}
    del part["PartNumber"]
    await endpoint.call("complete_multipart_upload", **part, MultipartUpload=parts)
    assert await endpoint.body("m") == b"of"
