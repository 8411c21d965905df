"""Storage classes, restores and Intelligent-Tiering configurations: nothing is promised that is not kept."""

import pytest
from botocore.exceptions import ClientError

from stratum.core.intelligent_tiering import CONFIGURATIONS_MAX, KIND, TieringConfigurations


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def configuration(name: str, *tiers: tuple[str, int], **more) -> dict:
    tierings = [{"AccessTier": tier, "Days": days} for tier, days in tiers or [("ARCHIVE_ACCESS", 90)]]
    return {
        "Bucket": "bucket",
        "Id": name,
        "IntelligentTieringConfiguration": {"Id": name, "Status": "Enabled", "Tierings": tierings, **more},
    }


# --- classes --------------------------------------------------------------------------------------------------


async def test_a_class_that_no_tier_stands_for_is_refused_wherever_it_is_asked_for(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x", StorageClass="STANDARD")
    source = {"Bucket": "bucket", "Key": "k"}
    for name in ("GLACIER", "STANDARD_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "standard"):
        for method, more in (
            ("put_object", {"Body": b"x"}),
            ("copy_object", {"CopySource": source}),
            ("create_multipart_upload", {}),
        ):
            one = {"Bucket": "bucket", "Key": "other", "StorageClass": name, **more}
            assert await refused(endpoint, method, **one) == (400, "InvalidStorageClass")
    assert [each["Key"] for each in (await endpoint.call("list_objects_v2", Bucket="bucket"))["Contents"]] == ["k"]


async def test_the_standard_class_shows_in_listings_and_not_in_head(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    assert "StorageClass" not in await endpoint.call("head_object", Bucket="bucket", Key="k")
    listed = (await endpoint.call("list_objects_v2", Bucket="bucket"))["Contents"]
    assert listed[0]["StorageClass"] == "STANDARD"


async def test_nothing_is_restored_that_is_not_archived(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    restore = {"Bucket": "bucket", "RestoreRequest": {"Days": 1}}
    assert await refused(endpoint, "restore_object", Key="k", **restore) == (403, "InvalidObjectState")
    assert await refused(endpoint, "restore_object", Key="none", **restore) == (404, "NoSuchKey")


async def test_an_object_is_copied_onto_itself_only_to_change_something(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x", ChecksumAlgorithm="CRC32")
    one = {"Bucket": "bucket", "Key": "k", "CopySource": {"Bucket": "bucket", "Key": "k"}}
    assert await refused(endpoint, "copy_object", **one) == (400, "InvalidRequest")
    await endpoint.call("copy_object", **one, ChecksumAlgorithm="SHA256")
    assert "ChecksumSHA256" in await endpoint.call("head_object", Bucket="bucket", Key="k", ChecksumMode="ENABLED")
    await endpoint.call("copy_object", **one, StorageClass="STANDARD")
    await endpoint.call("copy_object", **one, MetadataDirective="REPLACE", Metadata={"a": "1"})
    assert (await endpoint.call("head_object", Bucket="bucket", Key="k"))["Metadata"] == {"a": "1"}


async def test_a_thousand_keys_are_deleted_at_once_and_told_of_in_order(endpoint):
    for number in range(5):
        await endpoint.call("put_object", Bucket="bucket", Key=f"k{number}", Body=b"x")
    objects = [{"Key": f"k{number}"} for number in reversed(range(1000))]
    answer = await endpoint.call("delete_objects", Bucket="bucket", Delete={"Objects": objects})
    assert [each["Key"] for each in answer["Deleted"]] == [each["Key"] for each in objects]
    assert "Contents" not in await endpoint.call("list_objects_v2", Bucket="bucket")


# --- configurations -------------------------------------------------------------------------------------------


async def test_a_configuration_comes_back_as_it_was_put_and_goes_when_deleted(endpoint):
    both = {"And": {"Prefix": "p/", "Tags": [{"Key": "a", "Value": "1"}]}}
    one = configuration("one", ("ARCHIVE_ACCESS", 90), ("DEEP_ARCHIVE_ACCESS", 730), Filter=both)
    two = configuration("two", Filter={"Prefix": "q"}) | {}
    two["IntelligentTieringConfiguration"]["Status"] = "Disabled"
    three = configuration("three", Filter={"Tag": {"Key": "t", "Value": ""}})
    for each in (one, two, three, configuration("four")):
        await endpoint.call("put_bucket_intelligent_tiering_configuration", **each)
    wanted = [each["IntelligentTieringConfiguration"] for each in (configuration("four"), one, three, two)]
    listed = await endpoint.call("list_bucket_intelligent_tiering_configurations", Bucket="bucket")
    assert (listed["IntelligentTieringConfigurationList"], listed["IsTruncated"]) == (wanted, False)
    got = await endpoint.call("get_bucket_intelligent_tiering_configuration", Bucket="bucket", Id="one")
    assert got["IntelligentTieringConfiguration"] == one["IntelligentTieringConfiguration"]
    for _ in range(2):
        await endpoint.call("delete_bucket_intelligent_tiering_configuration", Bucket="bucket", Id="one")
    assert await refused(endpoint, "get_bucket_intelligent_tiering_configuration", Bucket="bucket", Id="one") == (
        404,
        "NoSuchConfiguration",
    )


async def test_many_configurations_are_listed_in_pages(endpoint):
    for number in range(101):
        name = configuration(f"c{number:03}")
        await endpoint.call("put_bucket_intelligent_tiering_configuration", **name)
    names: list[str] = []
    more: dict = {}
    while True:
        page = await endpoint.call("list_bucket_intelligent_tiering_configurations", Bucket="bucket", **more)
        names += [each["Id"] for each in page["IntelligentTieringConfigurationList"]]
        if not page["IsTruncated"]:
            break
        more = {"ContinuationToken": page["NextContinuationToken"]}
    assert names == [f"c{number:03}" for number in range(101)]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (configuration("c", ("ARCHIVE_ACCESS", 89)), "InvalidArgument"),
        (configuration("c", ("ARCHIVE_ACCESS", 731)), "InvalidArgument"),
        (configuration("c", ("DEEP_ARCHIVE_ACCESS", 90)), "InvalidArgument"),
        (configuration("c", ("FROZEN", 90)), "MalformedXML"),
        (configuration("c", ("ARCHIVE_ACCESS", 90), ("ARCHIVE_ACCESS", 91)), "MalformedXML"),
        (configuration("c", Status="Perhaps"), "MalformedXML"),
        (configuration("c" * 65), "MalformedXML"),
        (configuration("c") | {"Id": "other"}, "InvalidArgument"),
    ],
)
async def test_a_configuration_that_s3_does_not_allow_is_refused(endpoint, wrong, code):
    assert await refused(endpoint, "put_bucket_intelligent_tiering_configuration", **wrong) == (400, code)
    stored = await endpoint.engine.configurations.get("bucket", KIND, TieringConfigurations)
    assert stored is None


async def test_a_bucket_has_no_more_configurations_than_s3_allows(endpoint):
    await endpoint.call("put_bucket_intelligent_tiering_configuration", **configuration("first"))
    made = await endpoint.engine.configurations.get("bucket", KIND, TieringConfigurations)
    full = {f"c{number}": made.configurations["first"] for number in range(CONFIGURATIONS_MAX)}
    await endpoint.engine.configurations.put("bucket", KIND, TieringConfigurations(full))
    assert await refused(endpoint, "put_bucket_intelligent_tiering_configuration", **configuration("one more")) == (
        400,
        "TooManyConfigurations",
    )
    await endpoint.call("put_bucket_intelligent_tiering_configuration", **configuration("c1"))
