"""Policies that take long are parsed and judged by in threads, whatever a request comes to ask them for."""

import json
import threading

import pytest

from stratum.core import policy_document
from stratum.core.policy import is_heavy
from stratum.engine import parsing as parsing_in_threads
from stratum.s3 import authorisation
from tests.s3.test_access_control import denied, people

__all__ = ["people"]


def heavy(*actions: str, **more) -> str:
    """The largest policy there may be, that allows everybody these actions at the very end."""
    no = [f"arn:aws:s3:::bucket/*{number}*x" for number in range(500)]
    last = {"Effect": "Allow", "Principal": "*", "Action": list(actions)}
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": no},
                {**last, "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"], **more},
            ],
        }
    )


@pytest.fixture
def on_the_loop(monkeypatch):
    """What was parsed or judged by on the event loop and takes long: must stay empty."""
    loop, found = threading.current_thread(), []
    parse, decide = policy_document._json, authorisation.decide

    def parsing(text):
        if threading.current_thread() is loop and len(text) > policy_document.AT_ONCE:
            found.append(("parsed", len(text)))
        return parse(text)

    def deciding(asked, ground, **more):
        if threading.current_thread() is loop and is_heavy(ground.policies):
            found.append(("judged", asked.action))
        return decide(asked, ground, **more)

    policy_document.parse_policy.cache_clear()
    parsing_in_threads._known.clear()
    monkeypatch.setattr(policy_document, "_json", parsing)
    monkeypatch.setattr(authorisation, "decide", deciding)
    return found


async def test_a_request_of_a_stranger_is_judged_in_a_thread_to_its_end(endpoint, people, on_the_loop):
    bob = people["bob"]
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    tagged = {"StringEquals": {"s3:RequestObjectTag/colour": "red"}}
    text = json.loads(heavy("s3:GetObject", "s3:PutObject", "s3:PutObjectAcl", "s3:DeleteObject"))
    text["Statement"].append({**text["Statement"][1], "Action": "s3:PutObjectTagging", "Condition": tagged})
    await endpoint.call("put_bucket_policy", Bucket="bucket", Policy=json.dumps(text))
    await bob.call("get_object", Bucket="bucket", Key="k")
    async with denied():  # and no word of whether it is there
        await bob.call("get_object", Bucket="bucket", Key="missing")
    await bob.call(
        "put_object_tagging", Bucket="bucket", Key="k", Tagging={"TagSet": [{"Key": "colour", "Value": "red"}]}
    )
    async with denied():
        await bob.call(
            "put_object_tagging", Bucket="bucket", Key="k", Tagging={"TagSet": [{"Key": "colour", "Value": "blue"}]}
        )
    await bob.call("put_object_acl", Bucket="bucket", Key="k", ACL="private")
    await bob.call("delete_objects", Bucket="bucket", Delete={"Objects": [{"Key": "k"}, {"Key": "l"}]})
    await endpoint.call("get_bucket_policy_status", Bucket="bucket")
    assert on_the_loop == []
