"""Keys of more than 1,024 bytes: refused by name on every way, but for files that the mount gave such a path."""

import json

import pytest

from tests.engine.test_files import WHO, close, create, root_of
from tests.s3.test_access_control import denied, people
from tests.s3.test_door import refused

__all__ = ["people"]

LONG = "ä" * 512 + "x"  # 1025 bytes, 513 characters
TOO_LONG = (400, "KeyTooLongError")
COPY = {"Bucket": "bucket", "Key": LONG}
WAYS = [
    ("get_object", {}),
    ("put_object", {"Body": b"x"}),
    ("delete_object", {}),
    ("copy_object", {"CopySource": {"Bucket": "bucket", "Key": "k"}}),
    ("create_multipart_upload", {}),
    ("upload_part", {"UploadId": "u", "PartNumber": 1, "Body": b"x"}),
    ("list_parts", {"UploadId": "u"}),
    ("abort_multipart_upload", {"UploadId": "u"}),
    ("get_object_tagging", {}),
    ("put_object_tagging", {"Tagging": {"TagSet": []}}),
    ("delete_object_tagging", {}),
    ("get_object_acl", {}),
    ("put_object_acl", {"ACL": "private"}),
    ("get_object_attributes", {"ObjectAttributes": ["ETag"]}),
    ("put_object_legal_hold", {"LegalHold": {"Status": "ON"}}),
    ("restore_object", {"RestoreRequest": {"Days": 1}}),
]


@pytest.mark.parametrize(("method", "more"), WAYS, ids=[name for name, _ in WAYS])
async def test_a_key_that_is_too_long_is_refused_by_name_on_every_way(endpoint, people, method, more):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    assert await refused(endpoint, method, Bucket="bucket", Key=LONG, **more) == TOO_LONG
    async with denied("KeyTooLongError", 400):  # whoever asks
        await people["bob"].call(method, Bucket="bucket", Key=LONG, **more)


async def test_head_says_it_without_a_body_and_presigned_requests_and_forms_say_it_too(endpoint):
    async with denied("400", 400):
        await endpoint.call("head_object", Bucket="bucket", Key=LONG)
    for method in ("get_object", "put_object", "head_object"):
        url = endpoint.client.generate_presigned_url(method, Params={"Bucket": "bucket", "Key": LONG})
        verb = method.partition("_")[0].upper()
        path = url.removeprefix(endpoint.url)
        answer = await endpoint.raw(
            f"{verb} {path} HTTP/1.1\r\nHost: 127.0.0.1:{endpoint.port}\r\nContent-Length: 0\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert (b"<Code>KeyTooLongError</Code>" in body) is (verb != "HEAD")
        assert verb != "HEAD" or body == b""
    form = endpoint.client.generate_presigned_post("bucket", LONG)["fields"]
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form.items()]
    body = "".join([*parts, '--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nb\r\n--x--\r\n']).encode()
    head = (
        f"POST /bucket HTTP/1.1\r\nHost: 127.0.0.1:{endpoint.port}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    )
    answer = await endpoint.raw(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"<Code>KeyTooLongError</Code>" in answer


async def test_as_the_source_of_a_copy_it_is_refused_as_well(endpoint):
    upload = await endpoint.call("create_multipart_upload", Bucket="bucket", Key="k")
    assert await refused(endpoint, "copy_object", Bucket="bucket", Key="k", CopySource=COPY) == TOO_LONG
    part = {"UploadId": upload["UploadId"], "PartNumber": 1}
    assert await refused(endpoint, "upload_part_copy", Bucket="bucket", Key="k", CopySource=COPY, **part) == TOO_LONG


async def deep_file(endpoint):
    """The key of a file that the mount made below very long folders."""
    engine, folders = endpoint.engine, ["f" * 200] * 6
    parent = await root_of(engine)
    for name in folders:
        parent = (await engine.files.names.make_directory(parent, name.encode(), 0o755, WHO))[0]
    handle, _ = await create(engine, b"file", b"deep", parent)
    await close(engine, handle)
    key = "/".join([*folders, "file"])
    assert len(key) > 1024
    return key


async def test_a_file_of_such_a_path_is_read_copied_and_deleted_by_who_may_and_nobody_else_is_told(endpoint, people):
    key = await deep_file(endpoint)
    assert await endpoint.body(key) == b"deep"
    await endpoint.call("head_object", Bucket="bucket", Key=key)
    await endpoint.call("copy_object", Bucket="bucket", Key="k", CopySource={"Bucket": "bucket", "Key": key})
    assert await endpoint.body("k") == b"deep"
    for asked in (key, LONG):  # there, or not
        async with denied("KeyTooLongError", 400):
            await people["bob"].call("get_object", Bucket="bucket", Key=asked)
    assert await refused(endpoint, "put_object", Bucket="bucket", Key=key, Body=b"") == TOO_LONG
    await endpoint.call("delete_object", Bucket="bucket", Key=key)
    assert await refused(endpoint, "get_object", Bucket="bucket", Key=key) == TOO_LONG


async def test_a_delete_of_many_says_it_of_each_such_key_and_deletes_the_others(endpoint, people):
    key = await deep_file(endpoint)
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    named = [{"Key": LONG}, {"Key": "k"}, {"Key": "never"}, {"Key": LONG, "VersionId": "null"}]
    answer = await endpoint.call("delete_objects", Bucket="bucket", Delete={"Objects": named})
    assert [each["Key"] for each in answer["Deleted"]] == ["k", "never"]
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [(LONG, "KeyTooLongError")] * 2
    assert answer["Errors"][1]["VersionId"] == "null"
    quiet = {"Objects": [{"Key": LONG}, {"Key": key}], "Quiet": True}
    answer = await endpoint.call("delete_objects", Bucket="bucket", Delete=quiet)  # the file is there
    assert [each["Key"] for each in answer["Errors"]] == [LONG]
    assert await refused(endpoint, "get_object", Bucket="bucket", Key=key) == TOO_LONG


async def test_a_delete_of_many_by_who_may_not_does_not_tell_which_long_keys_there_are(endpoint, people):
    key = await deep_file(endpoint)
    named = [{"Key": LONG}, {"Key": key}]
    allowed = {
        "Effect": "Allow", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::bucket/x*",
    }  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    await endpoint.call("put_bucket_policy", Bucket="bucket", Policy=policy)
    answer = await people["bob"].call("delete_objects", Bucket="bucket", Delete={"Objects": named})
    assert [each["Code"] for each in answer["Errors"]] == ["KeyTooLongError"] * 2
    assert await endpoint.body(key) == b"deep"


async def test_the_delete_marker_of_a_file_of_such_a_path_can_be_taken_away(endpoint):
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    key = await deep_file(endpoint)
    marker = await endpoint.call("delete_object", Bucket="bucket", Key=key)
    await endpoint.call("delete_object", Bucket="bucket", Key=key, VersionId=marker["VersionId"])
    assert await endpoint.body(key) == b"deep"
    marker = await endpoint.call("delete_object", Bucket="bucket", Key=key)
    named = [{"Key": key, "VersionId": marker["VersionId"]}]
    answer = await endpoint.call("delete_objects", Bucket="bucket", Delete={"Objects": named})
    assert "Errors" not in answer
    assert await endpoint.body(key) == b"deep"
