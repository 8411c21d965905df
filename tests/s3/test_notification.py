"""Notification configurations at the door, and settings of whom they may name."""

import pytest
import trio
from botocore.exceptions import ClientError

from stratum.core.config import NotifyTarget, Settings
from stratum.core.errors import StratumError
from stratum.s3.errors import answer_for
from stratum.s3.notification import parse_notifications
from stratum.s3.xml import parse
from stratum.serve.settings_file import BadSettings, as_keys, load_settings

ARN = "arn:stratum:sqs::ops:webhook"
OPS = NotifyTarget(name="ops", url="http://127.0.0.1:1/", allow_private=True)


class Silent:
    """Takes everything and says nothing."""

    async def send(self, target, body: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        pass


@pytest.fixture
def ops(endpoint):
    notifying = endpoint.engine.notifying
    notifying.sender = Silent()
    notifying._targets["ops"], notifying._more["ops"] = OPS, trio.Event()
    return endpoint


def queue(name: str = "one", events=("s3:ObjectCreated:*",), arn: str = ARN, **rules):
    made = {"Id": name, "QueueArn": arn, "Events": list(events)}
    if rules:
        made["Filter"] = {"Key": {"FilterRules": [{"Name": key, "Value": value} for key, value in rules.items()]}}
    return made


async def put(endpoint, *queues, **more):
    configuration = {"QueueConfigurations": list(queues)} if queues else {}
    await endpoint.call(
        "put_bucket_notification_configuration",
        Bucket="bucket",
        NotificationConfiguration=configuration | more,
    )


async def get(endpoint):
    answer = await endpoint.call("get_bucket_notification_configuration", Bucket="bucket")
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


async def test_a_configuration_comes_back_as_it_was_sent_and_an_empty_one_ends_it(ops):
    assert await get(ops) == {}
    wanted = [queue("a", prefix="in/", suffix=".jpg"), queue("b", ("s3:ObjectRemoved:Delete", "s3:ObjectTagging:*"))]
    topic = {"Id": "t", "TopicArn": ARN, "Events": ["s3:ObjectRestore:Post"]}
    await put(ops, *wanted, TopicConfigurations=[topic])
    assert await get(ops) == {"QueueConfigurations": wanted, "TopicConfigurations": [topic]}
    await put(ops)
    assert await get(ops) == {}


async def test_a_configuration_without_an_id_gets_one(ops):
    wanted = queue()
    del wanted["Id"]
    await put(ops, wanted)
    assert (await get(ops))["QueueConfigurations"][0]["Id"]


@pytest.mark.parametrize(
    "queues",
    [
        [queue(arn="arn:stratum:sqs::nobody:webhook")],
        [queue(arn="arn:aws:sqs:us-east-1:1:ops")],
        [queue(events=["s3:ObjectEaten:*"])],
        [queue(events=["ObjectCreated:Put"])],
        [queue("a"), queue("a", ["s3:ObjectRemoved:*"])],
        [queue("a"), queue("b")],
        [queue("a", prefix="in/"), queue("b", ["s3:ObjectCreated:Put"], prefix="in/deep/")],
        [queue("a", suffix=".jpg"), queue("b", prefix="in/")],
        [queue(infix="x")],
        [queue(prefix="x" * 1025)],
    ],
)
async def test_what_cannot_be_told_to_anyone_or_to_two_is_refused(ops, queues):
    with pytest.raises(ClientError) as caught:
        await put(ops, *queues)
    assert caught.value.response["Error"]["Code"] == "InvalidArgument"
    assert await get(ops) == {}


async def test_configurations_that_no_key_can_meet_both_may_stand_together(ops):
    await put(ops, queue("a", prefix="in/"), queue("b", prefix="out/"), queue("c", ["s3:ObjectRemoved:*"]))
    assert len((await get(ops))["QueueConfigurations"]) == 3


@pytest.mark.parametrize(
    ("code", "inside"),
    [
        ("MalformedXML", "<Nothing/>"),
        ("MalformedXML", "<QueueConfiguration><Queue>x</Queue></QueueConfiguration>"),
        ("MalformedXML", "<QueueConfiguration><Event>s3:ObjectCreated:*</Event></QueueConfiguration>"),
        ("MalformedXML", f"<QueueConfiguration><Topic>{ARN}</Topic></QueueConfiguration>"),
        ("NotImplemented", "<EventBridgeConfiguration/>"),
    ],
)
def test_documents_that_mean_nothing_here_are_refused(code, inside):
    document = parse(
        f"<NotificationConfiguration>{inside}</NotificationConfiguration>".encode(), "NotificationConfiguration"
    )
    with pytest.raises(StratumError) as caught:
        parse_notifications(document, frozenset({"ops"}))
    assert answer_for(caught.value).code == code


# --- settings ---------------------------------------------------------------------------------------------------

FILE = """
[notify.ops]
url = "https://hooks.example.org/x?y=1"
secret_ref = "file:/run/secrets/hook"
[notify.lan-1]
url = "http://10.0.0.7:8080/"
allow_private = true
"""


def test_targets_are_read_from_the_settings_and_written_back(tmp_path):
    (tmp_path / "s.toml").write_text(FILE)
    settings: Settings = load_settings(tmp_path / "s.toml", {}).settings
    assert settings.notify == (
        NotifyTarget(name="lan-1", url="http://10.0.0.7:8080/", allow_private=True),
        NotifyTarget(name="ops", url="https://hooks.example.org/x?y=1", secret_ref="file:/run/secrets/hook"),
    )
    shown = {key: value for key, value in as_keys(settings).items() if key.startswith("notify.")}
    assert load_settings(None, {}, shown).settings.notify == settings.notify


@pytest.mark.parametrize(
    "wrong",
    [
        "[notify.ops]\nsecret_ref = 'env:X'",
        "[notify.ops]\nurl = 'ftp://x'",
        "[notify.ops]\nurl = 'https://user:secret@x/'",
        "[notify.ops]\nurl = 'https://'",
        "[notify.ops]\nurl = 'http://x:99999/'",
        "[notify.ops]\nurl = 'http://x'\nsecret_ref = 'hunter2'",
        "[notify.ops]\nurl = 'http://x'\nsecret = 'hunter2'",
        "[notify.'O P S']\nurl = 'http://x'",
    ],
)
def test_targets_that_cannot_be_used_stop_the_start(tmp_path, wrong):
    (tmp_path / "s.toml").write_text(wrong)
    with pytest.raises(BadSettings) as caught:
        load_settings(tmp_path / "s.toml", {})
    assert "hunter2" not in str(caught.value)
