"""Access logging of buckets: who may switch it on, what a line says, and that lines arrive."""

import json
import re
import shlex
from functools import partial

import pytest
import trio
from botocore.exceptions import ClientError

from stratum.core.access_log import Logging, may_deliver, object_name
from stratum.core.errors import NotPermitted
from stratum.core.objects import ListQuery
from stratum.core.policy import KIND, PolicyText, parse_policy
from stratum.core.principals import Principal
from stratum.s3.access_log import Exchange, line
from stratum.s3.http import Request, Response
from tests.engine.conftest import engine_at, get

PREFIX = "log/"
NAME = r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}"


def statement(**parts):
    return {
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": ["s3:PutObject"],
        "Resource": "arn:aws:s3:::logs/log/*",
        "Condition": {
            "ArnLike": {"aws:SourceArn": "arn:aws:s3:::bucket"},
            "StringEquals": {"aws:SourceAccount": "stratum"},
        },
    } | parts


def policy(*statements) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
async def logs(endpoint):
    await endpoint.call("create_bucket", Bucket="logs")
    await endpoint.call("put_bucket_policy", Bucket="logs", Policy=policy(statement()))
    return endpoint


async def switch_on(endpoint, bucket: str = "bucket", **parts):
    enabled = {"TargetBucket": "logs", "TargetPrefix": PREFIX} | parts
    await endpoint.call("put_bucket_logging", Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled})


async def shown(endpoint):
    return (await endpoint.call("get_bucket_logging", Bucket="bucket")).get("LoggingEnabled")


async def refusal(endpoint, **parts):
    with pytest.raises(ClientError) as caught:
        await switch_on(endpoint, **parts)
    return caught.value.response["Error"]["Code"]


async def lines(endpoint) -> list[list[str]]:
    """Every line that was delivered, in its fields; and the names of the objects are well formed."""
    await endpoint.engine.access_logs.deliver_all()
    found = []
    for each in (await endpoint.call("list_objects_v2", Bucket="logs")).get("Contents", ()):
        assert re.fullmatch(PREFIX + NAME, each["Key"])
        text = (await endpoint.body(each["Key"], "logs")).decode()
        found += [shlex.split(one.replace("[", '"').replace("]", '"')) for one in text.splitlines()]
    return found


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key_format", [{"SimplePrefix": {}}, {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}]
)
async def test_a_configuration_comes_back_and_an_empty_one_ends_it(logs, key_format):
    assert await shown(logs) is None
    await switch_on(logs, TargetObjectKeyFormat=key_format)
    assert await shown(logs) == {"TargetBucket": "logs", "TargetPrefix": PREFIX, "TargetObjectKeyFormat": key_format}
    await logs.call("put_bucket_logging", Bucket="bucket", BucketLoggingStatus={})
    assert await shown(logs) is None


async def test_plain_names_are_the_default_and_grants_are_not_kept(logs):
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": "stratum"}, "Permission": "FULL_CONTROL"}
    await switch_on(logs, TargetGrants=[grant])
    expected = {"TargetBucket": "logs", "TargetPrefix": PREFIX, "TargetObjectKeyFormat": {"SimplePrefix": {}}}
    assert await shown(logs) == expected


async def test_targets_that_cannot_take_lines_are_refused(logs):
    assert await refusal(logs, TargetBucket="bucket") == "InvalidArgument"
    assert await refusal(logs, TargetBucket="nowhere") == "NoSuchKey"
    partitioned = {"PartitionedPrefix": {"PartitionDateSource": "Yesterday"}}
    assert await refusal(logs, TargetObjectKeyFormat=partitioned) == "MalformedXML"
    assert await refusal(logs, TargetPrefix="elsewhere/") == "AccessDenied"
    rule = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    await logs.call("put_bucket_encryption", Bucket="logs", ServerSideEncryptionConfiguration=rule)
    assert await refusal(logs) == "InvalidArgument"
    await logs.call("delete_bucket_encryption", Bucket="logs")
    await switch_on(logs)
    await logs.call("create_bucket", Bucket="third")
    assert await refusal(logs, bucket="third", TargetBucket="bucket") == "InvalidArgument", "it is logged itself"


@pytest.mark.parametrize(
    "wrong",
    [
        {"Principal": {"AWS": "*"}},
        {"Principal": "*"},
        {"Principal": {"Service": "other.amazonaws.com"}},
        {"Action": "s3:GetObject"},
        {"Resource": "arn:aws:s3:::logs/other/*"},
        {"Resource": "arn:aws:s3:::logs"},
        {"Effect": "Deny"},
        {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::another"}}},
        {"Condition": {"StringEquals": {"aws:SourceAccount": "another"}}},
    ],
)
async def test_the_policy_of_the_target_must_let_log_delivery_in_by_its_name(logs, wrong):
    await logs.call("put_bucket_policy", Bucket="logs", Policy=policy(statement(**wrong)))
    assert await refusal(logs) == "AccessDenied"
    await logs.call("delete_bucket_policy", Bucket="logs")
    assert await refusal(logs) == "AccessDenied"


def test_a_deny_outweighs_and_a_policy_for_the_prefix_itself_is_enough():
    wanted = Logging("logs", PREFIX)
    ask = partial(may_deliver, logging=wanted, source="bucket", account="stratum")
    exact = statement(Resource="arn:aws:s3:::logs/log/")
    assert ask(parse_policy(policy(exact), "logs"))
    everyone = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::logs/*"}
    assert not ask(parse_policy(policy(exact, everyone), "logs"))
    assert not ask(None)


async def test_only_the_owner_lets_a_bucket_be_logged_whatever_a_policy_says(logs):
    stranger = Principal(user="mallory", name="mallory")
    for wanted in (Logging("logs", PREFIX), None):
        with pytest.raises(NotPermitted):
            await logs.engine.access_logs.configure("bucket", wanted, stranger)
    assert await shown(logs) is None


# --- lines ----------------------------------------------------------------------------------------------------------


async def test_requests_become_lines_of_26_fields_in_the_target(logs):
    await switch_on(logs)
    key = 'a "quoted" key/é'
    await logs.call("put_object", Bucket="bucket", Key=key, Body=b"hello")
    assert await logs.body(key) == b"hello"
    with pytest.raises(ClientError):
        await logs.call("get_object", Bucket="bucket", Key="missing")
    await logs.call("list_objects_v2", Bucket="bucket")
    await logs.call("get_bucket_versioning", Bucket="bucket")
    found = await lines(logs)
    assert {len(each) for each in found} == {26}
    assert [each[6] for each in found] == [
        "REST.PUT.LOGGING_STATUS",
        "REST.PUT.OBJECT",
        "REST.GET.OBJECT",
        "REST.GET.OBJECT",
        "REST.GET.BUCKET",
        "REST.GET.VERSIONING",
    ]
    put, read, missing = found[1:4]
    assert put[:2] == ["stratum", "bucket"]
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", put[2])
    assert (put[3], put[4], put[7]) == ("127.0.0.1", "stratum", "a%20%22quoted%22%20key/%C3%A9")
    assert put[8] == "PUT /bucket/a%20%22quoted%22%20key/%C3%A9 HTTP/1.1"
    assert (put[9], put[10], put[12], put[19], put[21]) == ("200", "-", "5", "SigV4", "AuthHeader")
    assert (read[9], read[11], read[12]) == ("200", "5", "5")
    assert "Boto3" in read[16]
    assert (missing[9], missing[10]) == ("404", "NoSuchKey")


async def test_what_is_refused_is_a_line_too_and_tells_of_nobody(logs):
    await switch_on(logs)
    bad = logs.client_for("ROOTACCESSKEY0000001", "another secret")
    with pytest.raises(ClientError):
        await logs.run(lambda: bad.head_object(Bucket="bucket", Key="key"))
    await logs.run(bad.close)
    refused = (await lines(logs))[-1]
    assert (refused[4], refused[6], refused[7], refused[9]) == ("-", "REST.HEAD.OBJECT", "key", "403")
    assert refused[10] == "SignatureDoesNotMatch"


async def test_a_presigned_url_does_not_give_its_signature_to_the_log(logs):
    await switch_on(logs)
    await logs.call("put_object", Bucket="bucket", Key="key", Body=b"x")
    url = logs.client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"})
    target = url.partition(str(logs.port))[2]
    answer = await logs.raw(
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{logs.port}\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 200")
    told = (await lines(logs))[-1]
    assert told[21] == "QueryString"
    assert "X-Amz-Signature=***" in told[8]
    assert target.partition("X-Amz-Signature=")[2][:64] not in " ".join(told)


async def test_nothing_is_kept_of_buckets_that_are_not_logged(logs):
    await logs.call("put_object", Bucket="bucket", Key="key", Body=b"x")
    assert await lines(logs) == []
    await switch_on(logs)
    await logs.call("put_bucket_logging", Bucket="bucket", BucketLoggingStatus={})
    await logs.call("head_object", Bucket="bucket", Key="key")
    assert await lines(logs) == []


async def test_lines_are_dropped_when_the_target_no_longer_lets_them_in(logs):
    await switch_on(logs)
    await logs.call("head_bucket", Bucket="bucket")
    await logs.call("delete_bucket_policy", Bucket="logs")
    assert await lines(logs) == []
    assert logs.engine.access_logs.dropped == 2


async def test_lines_wait_in_bounded_memory(logs):
    await switch_on(logs)
    await lines(logs)
    access_logs = logs.engine.access_logs
    room = logs.engine.limits.access_log_bytes
    for _ in range(5):
        access_logs.note("bucket", b"x" * (room // 4))
    assert access_logs.dropped == 2, "three of a quarter each, and a little over"


def test_no_header_of_a_client_makes_two_lines_or_more_fields_of_one():
    request = Request(
        method="GET",
        raw_path=b'/b/k"] "[',
        raw_query=b"X-Amz-Credential=me&x-amz-signature=beef&Signature=cafe",
        headers=[(b"referer", b'" "-" \n'), (b"user-agent", b'\\"] [x\x00\xff'), (b"host", b"a b")],
    )
    made = line(Exchange(request, None, "", 0.0, 0, "id"), Response(200), owner="o", sent=0, turnaround=0.0)
    assert made.count(b"\n") == 1
    fields = shlex.split(made.decode().replace("[", '"').replace("]", '"'))
    assert len(fields) == 26
    assert b"beef" not in made and b"cafe" not in made and b"Credential=me" in made


@pytest.mark.parametrize(
    ("partitioned", "name"),
    [("", "p/2026-11-21-06-40-00-U"), ("EventTime", "p/acc/eu/src/2026/11/21/2026-11-21-06-40-00-U")],
)
def test_objects_of_lines_are_named_as_asked(partitioned, name):
    made = object_name(
        Logging("logs", "p/", partitioned),
        account="acc",
        region="eu",
        source="src",
        date="2026-11-21",
        time="06-40-00",
        unique="U",
    )
    assert made == name


async def test_lines_that_wait_are_written_at_an_orderly_stop(tmp_path):
    async with engine_at(tmp_path) as engine:
        for bucket in ("bucket", "logs"):
            await engine.buckets.create(bucket, "alice")
        allowed = policy(statement(Condition={}))
        await engine.configurations.put("logs", KIND, PolicyText(allowed))
        await engine.access_logs.configure("bucket", Logging("logs", PREFIX), Principal(user="alice"))
        engine.access_logs.note("bucket", b"one line\n")
    async with engine_at(tmp_path) as engine:
        (made,) = (await engine.objects.list("logs", ListQuery())).objects
        assert await get(engine, made.key, "logs") == b"one line\n"


async def test_lines_that_are_old_or_many_are_written_by_the_service_itself(tmp_path):
    for limits, size in (({"access_log_interval": 0.01}, 1), ({"access_log_object_bytes": 1000}, 2000)):
        async with engine_at(tmp_path / str(size), **limits) as engine:
            for bucket in ("bucket", "logs"):
                await engine.buckets.create(bucket, "alice")
            await engine.configurations.put("logs", KIND, PolicyText(policy(statement(Condition={}))))
            await engine.access_logs.configure("bucket", Logging("logs", PREFIX), Principal(user="alice"))
            engine.access_logs.note("bucket", b"x" * size)
            while not engine.access_logs.delivered:
                await trio.sleep(0.001)
