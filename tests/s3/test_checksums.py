"""Checksums as clients send, ask for and read them: single PUTs, parts, wholes, copies, attributes."""

import random

import pytest
from botocore.exceptions import ClientError

from stratum.core.checksums import ALGORITHMS, COMPOSITE, FULL_OBJECT, Digests, composite, encode_base64
from stratum.s3.checksum_headers import check_part_algorithm, checksum_plan, claimed_checksum, wanted_algorithm
from stratum.s3.errors import S3Error

MIB = 1 << 20
KNOWN = ("CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME")  # to the client of these tests
PLANS = [(name, kind) for name, each in ALGORITHMS.items() for kind in each.types if name.upper() in KNOWN]


def raw(algorithm: str, content: bytes) -> bytes:
    digests = Digests([algorithm.lower()])
    digests.update(content)
    return digests.results()[algorithm.lower()]


def value(algorithm: str, content: bytes) -> str:
    return encode_base64(raw(algorithm, content))


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def checksums_in(answer: dict) -> dict[str, str]:
    return {name: text for name, text in answer.items() if name.startswith("Checksum") and name != "ChecksumType"}


# --- headers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_upload_may_have_the_types_of_its_algorithm_the_first_being_the_default(algorithm):
    types = ALGORITHMS[algorithm].types
    assert checksum_plan({"x-amz-checksum-algorithm": algorithm.upper()}) == (algorithm, types[0])
    for kind in (FULL_OBJECT, COMPOSITE):
        headers = {"x-amz-checksum-algorithm": algorithm.upper(), "x-amz-checksum-type": kind}
        if kind in types:
            assert checksum_plan(headers) == (algorithm, kind)
        else:
            with pytest.raises(S3Error, match="InvalidRequest"):
                checksum_plan(headers)


def test_without_an_algorithm_there_is_no_plan_and_no_type():
    assert checksum_plan({}) == ("", "") and wanted_algorithm({}) == ""
    for headers in (
        {"x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-algorithm": "CRC16"},
        {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "HALF"},
    ):
        with pytest.raises(S3Error, match="InvalidRequest"):
            checksum_plan(headers)


def test_complete_is_told_of_one_checksum_at_most():
    assert claimed_checksum({}) is None
    one = claimed_checksum({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "FULL_OBJECT"})
    assert (one.algorithm, one.value, one.kind) == ("crc32", "AAAAAA==", "FULL_OBJECT")
    with pytest.raises(S3Error, match="InvalidRequest"):
        claimed_checksum({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-md5": "x"})


def test_a_part_with_another_algorithm_than_its_upload_is_refused():
    for upload, sent in (("", ""), ("", "crc32"), ("sha1", ""), ("sha1", "sha1")):
        check_part_algorithm(upload, sent)
    with pytest.raises(S3Error, match="expected checksum Type: sha1, actual checksum Type: crc32"):
        check_part_algorithm("sha1", "crc32")


# --- objects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", KNOWN)
async def test_a_put_is_checked_stored_and_shown_only_when_asked_for(endpoint, algorithm):
    name, good = f"Checksum{algorithm}", value(algorithm, b"content")
    put = await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"content", ChecksumAlgorithm=algorithm)
    assert put[name] == good and put["ChecksumType"] == FULL_OBJECT
    head = await endpoint.call("head_object", Bucket="bucket", Key="k", ChecksumMode="ENABLED")
    assert checksums_in(head) == {name: good}
    assert checksums_in(await endpoint.call("head_object", Bucket="bucket", Key="k")) == {}
    ranged = await endpoint.call("get_object", Bucket="bucket", Key="k", Range="bytes=0-1", ChecksumMode="ENABLED")
    assert checksums_in(ranged) == {}
    part = await endpoint.call("get_object", Bucket="bucket", Key="k", PartNumber=1, ChecksumMode="ENABLED")
    assert checksums_in(part) == {name: good}
    wrong = {"Bucket": "bucket", "Key": "k", "Body": b"other", "ChecksumAlgorithm": algorithm, name: good}
    assert await refused(endpoint, "put_object", **wrong) == (400, "BadDigest")
    listed = (await endpoint.call("list_objects_v2", Bucket="bucket"))["Contents"][0]
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == ([algorithm], FULL_OBJECT)


@pytest.mark.parametrize("algorithm", KNOWN)
async def test_a_copy_has_the_checksum_that_is_asked_for_or_that_of_its_source(endpoint, algorithm):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"content", ChecksumAlgorithm="CRC32")
    source = {"Bucket": "bucket", "Key": "k"}
    same = await endpoint.call("copy_object", Bucket="bucket", Key="same", CopySource=source)
    assert checksums_in(same["CopyObjectResult"]) == {"ChecksumCRC32": value("crc32", b"content")}
    copy = {"Bucket": "bucket", "Key": "new", "CopySource": source, "ChecksumAlgorithm": algorithm}
    new = await endpoint.call("copy_object", **copy)
    assert checksums_in(new["CopyObjectResult"]) == {f"Checksum{algorithm}": value(algorithm, b"content")}
    assert await endpoint.body("new", ChecksumMode="ENABLED") == b"content"


class Upload:
    """A multipart upload of two parts by the client of an endpoint."""

    def __init__(self, endpoint, **plan: str) -> None:
        self.endpoint, self.plan = endpoint, plan
        self.bodies = {2: random.Random(2).randbytes(5 * MIB), 5: b"tail"}

    async def begin(self) -> None:
        made = await self.endpoint.call("create_multipart_upload", Bucket="bucket", Key="m", **self.plan)
        self.named = {"Bucket": "bucket", "Key": "m", "UploadId": made["UploadId"]}
        self.parts = []

    async def send(self, **more: str) -> None:
        for number, body in self.bodies.items():
            part = await self.endpoint.call("upload_part", **self.named, PartNumber=number, Body=body, **more)
            self.parts.append({"PartNumber": number, "ETag": part["ETag"], **checksums_in(part)})

    async def complete(self, **claims):
        return await self.endpoint.call(
            "complete_multipart_upload", **self.named, MultipartUpload={"Parts": self.parts}, **claims
        )


@pytest.mark.parametrize(("algorithm", "kind"), PLANS)
async def test_a_multipart_object_and_its_parts_have_checksums(endpoint, algorithm, kind):
    upper = algorithm.upper()
    name = f"Checksum{upper}"
    upload = Upload(endpoint, ChecksumAlgorithm=upper, ChecksumType=kind)
    await upload.begin()
    await upload.send(ChecksumAlgorithm=upper)
    assert [each[name] for each in upload.parts] == [value(algorithm, body) for body in upload.bodies.values()]
    listed = await endpoint.call("list_parts", **upload.named)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (upper, kind)
    assert [each[name] for each in listed["Parts"]] == [each[name] for each in upload.parts]
    whole = b"".join(upload.bodies.values())
    raws = [raw(algorithm, body) for body in upload.bodies.values()]
    good = value(algorithm, whole) if kind == FULL_OBJECT else composite(algorithm, raws)
    assert await refused_complete(upload, **{name: value(algorithm, b"other")}) == (400, "BadDigest")
    other_kind = COMPOSITE if kind == FULL_OBJECT else FULL_OBJECT
    assert await refused_complete(upload, **{name: good}, ChecksumType=other_kind) == (400, "BadDigest")
    assert await refused_complete(upload, MpuObjectSize=len(whole) + 1) == (400, "InvalidRequest")
    done = await upload.complete(**{name: good}, ChecksumType=kind, MpuObjectSize=len(whole))
    assert (done[name], done["ChecksumType"]) == (good, kind)
    assert (await upload.complete(**{name: good}))["ETag"] == done["ETag"]  # the answer was lost: once more
    assert await endpoint.body("m", ChecksumMode="ENABLED") == whole
    for number, body in enumerate(upload.bodies.values(), 1):
        part = await endpoint.call("head_object", Bucket="bucket", Key="m", PartNumber=number, ChecksumMode="ENABLED")
        assert (part[name], part["ChecksumType"], part["PartsCount"]) == (value(algorithm, body), kind, 2)
        assert await endpoint.body("m", PartNumber=number, ChecksumMode="ENABLED") == body


async def refused_complete(upload: Upload, **claims) -> tuple[int, str]:
    return await refused(
        upload.endpoint,
        "complete_multipart_upload",
        **upload.named,
        MultipartUpload={"Parts": upload.parts},
        **claims,
    )


@pytest.mark.parametrize("sent", ["CRC32", "SHA256", "CRC64NVME"])
async def test_an_upload_that_names_no_algorithm_gets_a_crc64nvme_of_the_whole(endpoint, sent):
    upload = Upload(endpoint)
    await upload.begin()
    await upload.send(ChecksumAlgorithm=sent)
    assert f"Checksum{sent}" in upload.parts[0]
    done = await upload.complete()
    whole = b"".join(upload.bodies.values())
    assert checksums_in(done) == {"ChecksumCRC64NVME": value("crc64nvme", whole)}
    assert await endpoint.body("m", ChecksumMode="ENABLED") == whole


async def test_a_part_of_another_algorithm_than_its_upload_is_an_invalid_request(endpoint):
    upload = Upload(endpoint, ChecksumAlgorithm="SHA256")
    await upload.begin()
    wrong = {**upload.named, "PartNumber": 1, "Body": b"x", "ChecksumAlgorithm": "CRC32"}
    assert await refused(endpoint, "upload_part", **wrong) == (400, "InvalidRequest")


async def test_a_part_that_is_copied_has_a_checksum_and_so_has_the_whole(endpoint):
    body = random.Random(3).randbytes(5 * MIB)
    await endpoint.call("put_object", Bucket="bucket", Key="source", Body=body)
    for plan, name in (({}, "CRC64NVME"), ({"ChecksumAlgorithm": "SHA1"}, "SHA1")):
        upload = Upload(endpoint, **plan)
        await upload.begin()
        copied = await endpoint.call(
            "upload_part_copy",
            **upload.named,
            PartNumber=1,
            CopySource={"Bucket": "bucket", "Key": "source"},
            CopySourceRange=f"bytes=0-{5 * MIB - 1}",
        )
        part = copied["CopyPartResult"]
        assert checksums_in(part) == {f"Checksum{name}": value(name, body)}
        upload.parts = [{"PartNumber": 1, "ETag": part["ETag"], **checksums_in(part)}]
        assert f"Checksum{name}" in await upload.complete()
        assert await endpoint.body("m", ChecksumMode="ENABLED") == body


# --- attributes -----------------------------------------------------------------------------------------------

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


async def attributes(endpoint, key: str, wanted: list[str] = ALL, **more):
    return await endpoint.call("get_object_attributes", Bucket="bucket", Key=key, ObjectAttributes=wanted, **more)


async def test_the_attributes_of_a_plain_object_have_no_parts(endpoint):
    put = await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x", ChecksumAlgorithm="SHA256")
    found = await attributes(endpoint, "k")
    assert found["ETag"] == put["ETag"].strip('"') and found["ObjectSize"] == 1
    assert found["StorageClass"] == "STANDARD" and "ObjectParts" not in found and "VersionId" not in found
    assert found["Checksum"] == {"ChecksumSHA256": value("sha256", b"x"), "ChecksumType": FULL_OBJECT}
    head = await endpoint.call("head_object", Bucket="bucket", Key="k")
    assert found["LastModified"] == head["LastModified"]
    only = await attributes(endpoint, "k", ["ObjectSize"])
    assert {"ETag", "Checksum", "StorageClass"} & only.keys() == set()
    assert await refused(endpoint, "get_object_attributes", Bucket="bucket", Key="k", ObjectAttributes=["Colour"]) == (
        400,
        "InvalidArgument",
    )


async def test_the_parts_among_the_attributes_come_in_pages(endpoint):
    upload = Upload(endpoint, ChecksumAlgorithm="SHA1")
    await upload.begin()
    await upload.send(ChecksumAlgorithm="SHA1")
    await upload.complete()
    sums = [value("sha1", body) for body in upload.bodies.values()]
    sizes = [len(body) for body in upload.bodies.values()]
    for marker, limit, numbers, more in ((None, None, [1, 2], False), (0, 1, [1], True), (1, 1, [2], False)):
        paging = {} if limit is None else {"PartNumberMarker": marker, "MaxParts": limit}
        found = (await attributes(endpoint, "m", **paging))["ObjectParts"]
        assert (found["TotalPartsCount"], found["IsTruncated"]) == (2, more)
        assert found.get("NextPartNumberMarker") == (numbers[-1] if more else None)
        assert [(each["PartNumber"], each["Size"], each["ChecksumSHA1"]) for each in found["Parts"]] == [
            (number, sizes[number - 1], sums[number - 1]) for number in numbers
        ]
    beyond = (await attributes(endpoint, "m", PartNumberMarker=7))["ObjectParts"]
    assert "Parts" not in beyond and not beyond["IsTruncated"]


async def test_the_attributes_of_a_version_and_of_a_delete_marker(endpoint):
    enabled = {"Status": "Enabled"}
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration=enabled)
    old = await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"1")
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"22")
    found = await attributes(endpoint, "k", VersionId=old["VersionId"])
    assert (found["VersionId"], found["ObjectSize"]) == (old["VersionId"], 1)
    await endpoint.call("delete_object", Bucket="bucket", Key="k")
    assert await refused(endpoint, "get_object_attributes", Bucket="bucket", Key="k", ObjectAttributes=ALL) == (
        404,
        "NoSuchKey",
    )
