"""What the mount sets, as clients of S3 see it: attributes as metadata, names that are no text.

Room: tests. May import: stratum, tests.
"""

import os

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

from stratum.core.user_attributes import SPACE
from stratum.engine.file_names import Caller
from tests.engine.conftest import ROOT

WHO = Caller(0, 0)


async def make(engine, name: bytes, content: bytes = b"x") -> int:
    """A file of bucket `bucket`, written through the mount's verbs."""
    root = (await engine.buckets.get("bucket")).root
    handle, number, _ = await engine.files.create(root, name, 0o644, WHO, exclusive=True, truncate=False)
    await engine.files.write(handle, 0, content)
    await engine.files.flush(handle)
    await engine.files.release(handle)
    return number


async def test_attributes_are_the_metadata_that_a_client_reads_and_copies(endpoint):
    await endpoint.call("create_bucket", Bucket="bucket")
    number = await make(endpoint.engine, b"f")
    xattrs = endpoint.engine.files.xattrs
    for name, value in ((b"user.colour", b"red"), (b"user.Mixed Case", b" \0\xff "), (b"user.stratum.pin", b"warm")):
        await xattrs.set(number, name, value)
    head = await endpoint.call("head_object", Bucket="bucket", Key="f")
    assert head["Metadata"] == {
        "colour": "red",
        "stratum-xattr-%4dixed%20%43ase": "%20%00%ff%20",
        "stratum-pin": "warm",
    }
    await endpoint.call("put_object", Bucket="bucket", Key="g", Body=b"y", Metadata=head["Metadata"])
    await endpoint.call("copy_object", Bucket="bucket", Key="h", CopySource="bucket/f")
    for key in ("g", "h"):
        copied = (await endpoint.engine.objects.head("bucket", key.encode())).inode_number
        assert [(name, xattrs.get(copied, name)) for name in xattrs.names(copied)] == [
            (b"user.Mixed Case", b" \0\xff "),
            (b"user.colour", b"red"),
            (b"user.stratum.pin", b"warm"),
        ]


async def test_any_attribute_comes_through_a_real_client_unharmed(endpoint):
    await endpoint.call("create_bucket", Bucket="bucket")
    number = await make(endpoint.engine, b"f")
    names = [SPACE + os.urandom(8).replace(b"\0", b"-") for _ in range(20)]
    xattrs = endpoint.engine.files.xattrs
    for name in names:
        await xattrs.set(number, name, os.urandom(9))
    metadata = (await endpoint.call("head_object", Bucket="bucket", Key="f"))["Metadata"]
    await endpoint.call("put_object", Bucket="bucket", Key="g", Body=b"", Metadata=metadata)
    copied = (await endpoint.engine.objects.head("bucket", b"g")).inode_number
    assert {name: xattrs.get(copied, name) for name in xattrs.names(copied)} == {
        name: xattrs.get(number, name) for name in names
    }


async def test_a_name_that_is_no_text_is_listed_escaped_and_does_not_break_the_listing(endpoint):
    await endpoint.call("create_bucket", Bucket="bucket")
    await make(endpoint.engine, b"caf\xe9", b"its bytes")
    await make(endpoint.engine, b"plain")
    listed = await endpoint.call("list_objects_v2", Bucket="bucket")
    assert [each["Key"] for each in listed["Contents"]][1] == "plain" and len(listed["Contents"]) == 2


async def test_a_name_that_is_no_text_can_be_read_and_deleted_but_not_put(endpoint):
    await endpoint.call("create_bucket", Bucket="bucket")
    await make(endpoint.engine, b"caf\xe9", b"its bytes")

    def ask(method: str) -> tuple[int, bytes]:
        request = AWSRequest(method=method, url=f"{endpoint.url}/bucket/caf%E9")
        request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
        S3SigV4Auth(Credentials(ROOT.access_key, ROOT.secret_key), "s3", "us-east-1").add_auth(request)
        answer = URLLib3Session(verify=False).send(request.prepare())
        return answer.status_code, answer.content

    assert await endpoint.run(lambda: ask("GET")) == (200, b"its bytes")
    assert (await endpoint.run(lambda: ask("HEAD")))[0] == 200
    assert (await endpoint.run(lambda: ask("PUT")))[0] == 400
    assert (await endpoint.run(lambda: ask("DELETE")))[0] == 204
    status, body = await endpoint.run(lambda: ask("GET"))
    assert status == 404 and b"NoSuchKey" in body
