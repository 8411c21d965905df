"""Lifecycle rules at the door: what is taken, what is refused and how, what other answers tell of them."""

import pytest
from botocore.exceptions import ClientError

from stratum.core.lifecycle import CLASSES


def rule(**parts):
    return {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}} | parts


async def put(endpoint, *rules, **more):
    await endpoint.call(
        "put_bucket_lifecycle_configuration", Bucket="bucket", LifecycleConfiguration={"Rules": list(rules)}, **more
    )


async def get(endpoint):
    return (await endpoint.call("get_bucket_lifecycle_configuration", Bucket="bucket"))["Rules"]


async def refusal(endpoint, *rules):
    with pytest.raises(ClientError) as caught:
        await put(endpoint, *rules)
    return caught.value.response["Error"]["Code"]


EVERYTHING = [
    {"ID": "legacy", "Status": "Disabled", "Prefix": "a/", "Expiration": {"Days": 3}},
    {"ID": "légère", "Status": "Enabled", "Prefix": "", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
]
FILTERED = [
    rule(ID="all", Filter={}, Expiration={"ExpiredObjectDeleteMarker": True}),
    rule(ID="tag", Filter={"Tag": {"Key": "k", "Value": "v"}}),
    rule(ID="size", Filter={"ObjectSizeGreaterThan": 10}),
    rule(
        ID="and",
        Filter={
            "And": {
                "Prefix": "p/",
                "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}],
                "ObjectSizeGreaterThan": 1,
                "ObjectSizeLessThan": 9,
            }
        },
        Transitions=[{"Days": 0, "StorageClass": "GLACIER"}],
        NoncurrentVersionExpiration={"NoncurrentDays": 9, "NewerNoncurrentVersions": 3},
        NoncurrentVersionTransitions=[{"NoncurrentDays": 4, "StorageClass": CLASSES[1]}],
    ),
]


@pytest.mark.parametrize("rules", [EVERYTHING, FILTERED], ids=["before filters", "with filters"])
async def test_rules_come_back_as_they_were_sent(endpoint, rules):
    await put(endpoint, *rules)
    assert await get(endpoint) == rules


async def test_a_rule_without_an_id_gets_one(endpoint):
    await put(endpoint, {"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}})
    assert (await get(endpoint))[0]["ID"]


async def test_there_are_no_rules_until_they_are_stored_and_after_they_are_deleted(endpoint):
    async def code():
        with pytest.raises(ClientError) as caught:
            await get(endpoint)
        return caught.value.response["Error"]["Code"]

    assert await code() == "NoSuchLifecycleConfiguration"
    await put(endpoint, rule())
    for _ in range(2):
        await endpoint.call("delete_bucket_lifecycle", Bucket="bucket")
        assert await code() == "NoSuchLifecycleConfiguration"


@pytest.mark.parametrize(
    ("code", "rules"),
    [
        ("InvalidArgument", [rule(ID="x" * 256)]),
        ("InvalidArgument", [rule(), rule()]),
        ("InvalidArgument", [rule(Expiration={"Days": 0})]),
        ("InvalidArgument", [rule(Expiration={"Date": "2030-01-01T00:00:01Z"})]),
        ("InvalidArgument", [rule(Expiration={"Date": "20200101"})]),
        ("InvalidArgument", [rule(Expiration={"Days": 2}, Transitions=[{"Days": 2, "StorageClass": "GLACIER"}])]),
        ("InvalidArgument", [rule(NoncurrentVersionExpiration={"NoncurrentDays": 0})]),
        ("InvalidArgument", [rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 101})]),
        ("InvalidArgument", [rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 0})]),
        ("MalformedXML", [rule(Status="enabled")]),
        ("MalformedXML", [rule(Prefix="also")]),
        ("MalformedXML", [{"ID": "no scope", "Status": "Enabled", "Expiration": {"Days": 1}}]),
        ("MalformedXML", [rule(Expiration={})]),
        ("MalformedXML", [rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True})]),
        ("MalformedXML", [rule(Filter={"And": {"Prefix": "alone"}})]),
        ("MalformedXML", [rule(Filter={"Prefix": "a", "And": {"Prefix": "b", "ObjectSizeLessThan": 5}})]),
        ("MalformedXML", [rule(Transitions=[{"Days": 1, "StorageClass": "NO_SUCH"}])]),
        ("MalformedXML", [rule(ID=str(number)) for number in range(1001)]),
        ("InvalidRequest", [{"ID": "idle", "Status": "Enabled", "Filter": {}}]),
        ("InvalidRequest", [rule(), {"ID": "l", "Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}}]),
        (
            "InvalidRequest",
            [
                rule(
                    Filter={"Tag": {"Key": "k", "Value": "v"}},
                    AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1},
                )
            ],
        ),
        (
            "InvalidRequest",
            [rule(Filter={"ObjectSizeLessThan": 9}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})],
        ),
        (
            "InvalidRequest",
            [rule(Filter={"Tag": {"Key": "k", "Value": "v"}}, Expiration={"ExpiredObjectDeleteMarker": True})],
        ),
        (
            "InvalidRequest",
            [rule(Expiration={"Date": "2030-01-01"}, Transitions=[{"Days": 1, "StorageClass": "GLACIER"}])],
        ),
        ("InvalidRequest", [rule(Filter={"And": {"ObjectSizeGreaterThan": 9, "ObjectSizeLessThan": 9}})]),
        ("InvalidRequest", [rule(Filter={"And": {"Tags": [{"Key": "k", "Value": "v"}, {"Key": "k", "Value": "w"}]}})]),
        ("InvalidTag", [rule(Filter={"Tag": {"Key": "aws:k", "Value": "v"}})]),
    ],
)
async def test_what_s3_does_not_allow_in_a_rule_is_refused_as_there(endpoint, code, rules):
    assert await refusal(endpoint, *rules) == code
    with pytest.raises(ClientError):
        await get(endpoint)


async def test_parts_of_a_filter_that_stand_beside_each_other_all_count(endpoint):
    await put(endpoint, rule(Filter={"Prefix": "a/", "Tag": {"Key": "k", "Value": "v"}}))
    assert (await get(endpoint))[0]["Filter"] == {"And": {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}]}}


async def test_the_minimum_size_for_transitions_comes_back(endpoint):
    name = "x-amz-transition-default-minimum-object-size"
    for given in ("varies_by_storage_class", "all_storage_classes_128K"):
        await put(endpoint, rule(), TransitionDefaultMinimumObjectSize=given)
        answer = await endpoint.call("get_bucket_lifecycle_configuration", Bucket="bucket")
        assert answer["ResponseMetadata"]["HTTPHeaders"][name] == given


async def test_reads_and_writes_tell_when_an_object_expires_and_by_which_rule(endpoint):
    # the clock of the engine: 2023-11-14 22:13 UTC
    told = 'expiry-date="Fri, 17 Nov 2023 00:00:00 GMT", rule-id="two"'
    await put(endpoint, rule(ID="one", Filter={"Prefix": "x"}), rule(ID="two", Expiration={"Days": 2}))
    written = await endpoint.call("put_object", Bucket="bucket", Key="key", Body=b"")
    read = await endpoint.call("get_object", Bucket="bucket", Key="key")
    head = await endpoint.call("head_object", Bucket="bucket", Key="key")
    copied = await endpoint.call("copy_object", Bucket="bucket", Key="copy", CopySource="bucket/key")
    assert [each.get("Expiration") for each in (written, read, head, copied)] == [told] * 4
    begun = await endpoint.call("create_multipart_upload", Bucket="bucket", Key="up")
    part = await endpoint.call(
        "upload_part", Bucket="bucket", Key="up", UploadId=begun["UploadId"], PartNumber=1, Body=b"x"
    )
    done = await endpoint.call(
        "complete_multipart_upload",
        Bucket="bucket",
        Key="up",
        UploadId=begun["UploadId"],
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    assert done.get("Expiration") == told
    await endpoint.call("delete_bucket_lifecycle", Bucket="bucket")
    assert "Expiration" not in await endpoint.call("head_object", Bucket="bucket", Key="key")


async def test_an_upload_tells_when_it_is_aborted_and_by_which_rule(endpoint):
    await put(
        endpoint, rule(ID="stop it", Expiration={"Days": 9}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})
    )
    begun = await endpoint.call("create_multipart_upload", Bucket="bucket", Key="up")
    listed = await endpoint.call("list_parts", Bucket="bucket", Key="up", UploadId=begun["UploadId"])
    for answer in (begun, listed):
        assert answer["AbortDate"].isoformat() == "2023-11-16T00:00:00+00:00"
        assert answer["AbortRuleId"] == "stop it"
