"""Object lock, as clients set it and run into it."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from stratum.s3.errors import S3Error
from stratum.s3.object_lock import LATEST, MILLISECOND, instant, parse_configuration, parse_instant
from stratum.s3.xml import node

LATER = datetime(2140, 1, 1, tzinfo=UTC)
SOON = datetime(2130, 1, 1, tzinfo=UTC)
GOVERNANCE = {"Mode": "GOVERNANCE", "RetainUntilDate": LATER}
COMPLIANCE = {"Mode": "COMPLIANCE", "RetainUntilDate": LATER}


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.fixture
async def locked(endpoint):
    """An endpoint with a bucket `vault` that has object lock."""
    await endpoint.call("create_bucket", Bucket="vault", ObjectLockEnabledForBucket=True)
    return endpoint


async def put(endpoint, key: str = "k", **arguments) -> str:
    return (await endpoint.call("put_object", Bucket="vault", Key=key, Body=b"x", **arguments))["VersionId"]


def configuration(**retention) -> dict:
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}


# --- dates and documents --------------------------------------------------------------------------------------


@given(st.integers(0, LATEST // MILLISECOND - 1))
def test_an_instant_that_is_shown_reads_back_the_same(milliseconds):
    assert parse_instant(instant(milliseconds * MILLISECOND)) == milliseconds * MILLISECOND


@given(st.integers(0, LATEST - MILLISECOND))
def test_an_instant_is_never_shown_earlier_than_it_is(time_ns):
    assert time_ns <= parse_instant(instant(time_ns)) < time_ns + MILLISECOND


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02T00:00:00Z", 86400),
        ("1970-01-02T00:00:00.000Z", 86400),
        ("1970-01-02T01:00:00+01:00", 86400),
        ("1970-01-02T00:00:00", 86400),
        ("1970-01-02T00:00Z", 86400),
    ],
)
def test_iso_dates_are_read_with_and_without_fraction_and_zone(text, seconds):
    assert parse_instant(text) == seconds * 10**9


@pytest.mark.parametrize(
    "text", ["", "now", "2030-01-01", "2030-13-01T00:00:00Z", "9999-01-01T00:00:00Z", "1960-01-01T00:00:00Z"]
)
def test_what_is_no_date_or_too_far_away_is_none(text):
    assert parse_instant(text) is None


def document(enabled: str = "Enabled", **default: str):
    fields = (node(name, text) for name, text in default.items())
    return node(
        "ObjectLockConfiguration", node("ObjectLockEnabled", enabled), node("Rule", node("DefaultRetention", *fields))
    )


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (document("Disabled", Mode="GOVERNANCE", Days="1"), "MalformedXML"),
        (document(Mode="governance", Days="1"), "MalformedXML"),
        (document(Mode="GOVERNANCE"), "MalformedXML"),
        (document(Days="1"), "MalformedXML"),
        (document(Mode="GOVERNANCE", Days="1", Years="1"), "MalformedXML"),
        (document(Mode="GOVERNANCE", Days="x"), "MalformedXML"),
        (document(Mode="GOVERNANCE", Days="0"), "InvalidRetentionPeriod"),
        (document(Mode="GOVERNANCE", Years="-1"), "InvalidRetentionPeriod"),
        (document(Mode="GOVERNANCE", Days="36501"), "InvalidRetentionPeriod"),
        (document(Mode="COMPLIANCE", Years="101"), "InvalidRetentionPeriod"),
        (node("ObjectLockConfiguration", node("ObjectLockEnabled", "Enabled"), node("Rule")), "MalformedXML"),
        (node("ObjectLockConfiguration"), "MalformedXML"),
    ],
)
def test_a_configuration_that_s3_does_not_allow_is_refused(bad, code):
    with pytest.raises(S3Error, match=code):
        parse_configuration(bad)


# --- buckets --------------------------------------------------------------------------------------------------


async def test_a_bucket_with_object_lock_has_versioning_and_keeps_it(locked):
    assert (await locked.call("get_bucket_versioning", Bucket="vault"))["Status"] == "Enabled"
    suspended = {"Status": "Suspended"}
    assert await refused(locked, "put_bucket_versioning", Bucket="vault", VersioningConfiguration=suspended) == (
        409,
        "InvalidBucketState",
    )
    shown = await locked.call("get_object_lock_configuration", Bucket="vault")
    assert shown["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}


async def test_object_lock_comes_to_a_bucket_only_with_versioning(endpoint):
    wanted = configuration(Mode="GOVERNANCE", Days=1)
    assert await refused(endpoint, "get_object_lock_configuration", Bucket="bucket") == (
        404,
        "ObjectLockConfigurationNotFoundError",
    )
    change = {"Bucket": "bucket", "ObjectLockConfiguration": wanted}
    assert await refused(endpoint, "put_object_lock_configuration", **change) == (409, "InvalidBucketState")
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    await endpoint.call("put_object_lock_configuration", **change)
    shown = await endpoint.call("get_object_lock_configuration", Bucket="bucket")
    assert shown["ObjectLockConfiguration"] == wanted


async def test_without_object_lock_nothing_can_be_locked(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    named = {"Bucket": "bucket", "Key": "k"}
    for method, more in (
        ("put_object_retention", {"Retention": GOVERNANCE}),
        ("get_object_retention", {}),
        ("put_object_legal_hold", {"LegalHold": {"Status": "ON"}}),
        ("get_object_legal_hold", {}),
        ("put_object", {"ObjectLockLegalHoldStatus": "ON"}),
        ("create_multipart_upload", {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": LATER}),
    ):
        assert await refused(endpoint, method, **named, **more) == (400, "InvalidRequest"), method


async def test_the_default_retention_is_given_to_what_brings_none(locked):
    default = configuration(Mode="GOVERNANCE", Days=2)
    await locked.call("put_object_lock_configuration", Bucket="vault", ObjectLockConfiguration=default)
    await put(locked)
    head = await locked.call("head_object", Bucket="vault", Key="k")
    assert head["ObjectLockMode"] == "GOVERNANCE"
    period = head["ObjectLockRetainUntilDate"] - head["LastModified"]  # which is cut to whole seconds
    assert timedelta(days=2) <= period < timedelta(days=2, seconds=2)
    await put(locked, "own", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=LATER)
    own = await locked.call("head_object", Bucket="vault", Key="own")
    assert (own["ObjectLockMode"], own["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", LATER)
    await locked.call("copy_object", Bucket="vault", Key="copy", CopySource={"Bucket": "vault", "Key": "own"})
    assert (await locked.call("head_object", Bucket="vault", Key="copy"))["ObjectLockMode"] == "GOVERNANCE"


# --- versions -------------------------------------------------------------------------------------------------


async def test_what_is_written_with_a_lock_shows_it(locked):
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": LATER, "ObjectLockLegalHoldStatus": "ON"}
    await put(locked, **lock)
    source = {"Bucket": "vault", "Key": "k"}
    await locked.call("copy_object", Bucket="vault", Key="copy", CopySource=source, **lock)
    upload = await locked.call("create_multipart_upload", Bucket="vault", Key="m", **lock)
    named = {"Bucket": "vault", "Key": "m", "UploadId": upload["UploadId"]}
    part = await locked.call("upload_part", **named, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    await locked.call("complete_multipart_upload", **named, MultipartUpload=parts)
    for key in ("k", "copy", "m"):
        head = await locked.call("head_object", Bucket="vault", Key=key)
        assert {name: head[name] for name in lock} == lock
        shown = await locked.call("get_object_retention", Bucket="vault", Key=key)
        assert shown["Retention"] == GOVERNANCE


@pytest.mark.parametrize(
    "lock",
    [
        {"ObjectLockMode": "GOVERNANCE"},
        {"ObjectLockRetainUntilDate": LATER},
        {"ObjectLockMode": "governance", "ObjectLockRetainUntilDate": LATER},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime(2020, 1, 1, tzinfo=UTC)},
        {"ObjectLockLegalHoldStatus": "on"},
    ],
)
async def test_a_lock_that_is_not_well_formed_stores_nothing(locked, lock):
    assert await refused(locked, "put_object", Bucket="vault", Key="k", Body=b"x", **lock) == (400, "InvalidArgument")
    assert await refused(locked, "head_object", Bucket="vault", Key="k") == (404, "404")


@pytest.mark.parametrize("retention", [GOVERNANCE, COMPLIANCE])
async def test_a_retained_version_stays_while_its_key_may_be_deleted(locked, retention):
    version = await put(locked)
    await locked.call("put_object_retention", Bucket="vault", Key="k", Retention=retention)
    marker = await locked.call("delete_object", Bucket="vault", Key="k")
    assert marker["DeleteMarker"]
    one = {"Bucket": "vault", "Key": "k", "VersionId": version}
    assert await refused(locked, "delete_object", **one) == (403, "AccessDenied")
    bypass = partial(locked.call, "delete_object", **one, BypassGovernanceRetention=True)
    if retention is COMPLIANCE:
        assert await refused(locked, "delete_object", **one, BypassGovernanceRetention=True) == (403, "AccessDenied")
        assert await locked.body("k", "vault", VersionId=version) == b"x"
    else:
        await bypass()
        assert await refused(locked, "get_object", **one) == (404, "NoSuchVersion")


async def test_a_legal_hold_holds_until_it_is_off(locked):
    version = await put(locked)
    one = {"Bucket": "vault", "Key": "k", "VersionId": version}
    await locked.call("put_object_legal_hold", **one, LegalHold={"Status": "ON"})
    assert (await locked.call("get_object_legal_hold", **one))["LegalHold"] == {"Status": "ON"}
    assert await refused(locked, "delete_object", **one, BypassGovernanceRetention=True) == (403, "AccessDenied")
    await locked.call("put_object_legal_hold", **one, LegalHold={"Status": "OFF"})
    assert (await locked.call("get_object_legal_hold", **one))["LegalHold"] == {"Status": "OFF"}
    await locked.call("delete_object", **one)


async def test_deleting_many_tells_of_each_that_is_locked(locked):
    held, free = await put(locked, "held"), await put(locked, "free")
    await locked.call("put_object_retention", Bucket="vault", Key="held", Retention=GOVERNANCE)
    objects = [{"Key": "held", "VersionId": held}, {"Key": "free", "VersionId": free}]
    answer = await locked.call("delete_objects", Bucket="vault", Delete={"Objects": objects})
    assert [(each["Key"], each["VersionId"]) for each in answer["Deleted"]] == [("free", free)]
    assert [(each["Key"], each["VersionId"], each["Code"]) for each in answer["Errors"]] == [
        ("held", held, "AccessDenied")
    ]
    answer = await locked.call(
        "delete_objects", Bucket="vault", Delete={"Objects": objects[:1]}, BypassGovernanceRetention=True
    )
    assert "Errors" not in answer and len(answer["Deleted"]) == 1


async def test_a_retention_grows_and_only_governance_shrinks_with_the_bypass(locked):
    one = {"Bucket": "vault", "Key": "k"}
    await put(locked, "k", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=SOON)
    await locked.call("put_object_retention", **one, Retention=GOVERNANCE)
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": SOON}
    assert await refused(locked, "put_object_retention", **one, Retention=shorter) == (403, "AccessDenied")
    await locked.call("put_object_retention", **one, Retention=shorter, BypassGovernanceRetention=True)
    await locked.call("put_object_retention", **one, Retention={}, BypassGovernanceRetention=True)
    assert await refused(locked, "get_object_retention", **one) == (404, "NoSuchObjectLockConfiguration")
    await locked.call("put_object_retention", **one, Retention=COMPLIANCE)
    for wanted in (GOVERNANCE, {"Mode": "COMPLIANCE", "RetainUntilDate": SOON}, {}):
        change = {**one, "Retention": wanted, "BypassGovernanceRetention": True}
        assert await refused(locked, "put_object_retention", **change) == (403, "AccessDenied")
    assert (await locked.call("get_object_retention", **one))["Retention"] == COMPLIANCE


@pytest.mark.parametrize(
    ("retention", "code"),
    [
        ({"Mode": "governance", "RetainUntilDate": LATER}, "MalformedXML"),
        ({"Mode": "GOVERNANCE"}, "MalformedXML"),
        ({"RetainUntilDate": LATER}, "MalformedXML"),
        ({"Mode": "GOVERNANCE", "RetainUntilDate": datetime(2020, 1, 1, tzinfo=UTC)}, "InvalidArgument"),
    ],
)
async def test_a_retention_that_is_not_well_formed_changes_nothing(locked, retention, code):
    await put(locked)
    assert await refused(locked, "put_object_retention", Bucket="vault", Key="k", Retention=retention) == (400, code)
    assert (await refused(locked, "get_object_retention", Bucket="vault", Key="k"))[0] == 404
