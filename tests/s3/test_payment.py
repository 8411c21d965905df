"""Requester pays: who is not the owner must agree, and is told."""

import msgspec
import pytest
from botocore.exceptions import ClientError

from stratum.core.records import Acl, Grant


async def other_user(endpoint):
    user = await endpoint.engine.users.create("other")
    pair = await endpoint.engine.credentials.create("", user=user)
    return user, endpoint.client_for(pair.access_key, pair.secret_key)


async def test_the_requester_pays_if_it_agrees_and_is_refused_if_not(endpoint):
    user, client = await other_user(endpoint)
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"bytes", GrantRead=f"id={user}")
    assert (await endpoint.call("get_bucket_request_payment", Bucket="bucket"))["Payer"] == "BucketOwner"
    assert (await endpoint.run(lambda: client.head_object(Bucket="bucket", Key="k")))["ContentLength"] == 5
    wanted = {"Payer": "Requester"}
    await endpoint.call("put_bucket_request_payment", Bucket="bucket", RequestPaymentConfiguration=wanted)
    assert (await endpoint.call("get_bucket_request_payment", Bucket="bucket"))["Payer"] == "Requester"
    with pytest.raises(ClientError) as caught:
        await endpoint.run(lambda: client.get_object(Bucket="bucket", Key="k"))
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    agreed = await endpoint.run(lambda: client.head_object(Bucket="bucket", Key="k", RequestPayer="requester"))
    assert (agreed["ContentLength"], agreed["RequestCharged"]) == (5, "requester")
    assert await endpoint.body("k") == b"bytes"
    await endpoint.run(client.close)


async def test_nobody_in_particular_can_pay(endpoint):
    await endpoint.engine.buckets.amend("bucket", lambda bucket: _public(bucket, requester_pays=True))
    answer = await endpoint.raw(
        b"GET /bucket HTTP/1.1\r\nHost: 127.0.0.1\r\nx-amz-request-payer: requester\r\nConnection: close\r\n\r\n"
    )
    assert b" 403 " in answer.split(b"\r\n")[0]


def _public(bucket, **more):
    return msgspec.structs.replace(bucket, acl=Acl((Grant("group:AllUsers", "READ"),)), **more)
