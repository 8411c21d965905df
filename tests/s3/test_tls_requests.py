"""What a request may do because it came over TLS: keys of customers, and policies that ask for a version of it."""

import base64
import hashlib
import json
import ssl
import time
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from urllib.error import HTTPError

import pytest
import trio
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from stratum.engine.engine import open_engine
from stratum.s3.app import make_app
from stratum.s3.door import S3Door
from stratum.s3.hosts import Hosts, networks, seen_through
from stratum.s3.http import Request
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.serve.self_signed import renew
from stratum.serve.tls import load
from tests.engine.conftest import MASTERS, ROOT, Clock, settings_for
from tests.sdk import sdk_client

KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
OLD_TLS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::bucket/*",
            "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.3"}},
        }
    ],
}


@asynccontextmanager
async def served(engine, serving):
    listener, stop = open_listener("127.0.0.1", 0), trio.Event()
    app = make_app(S3Door(engine, now_s=lambda: int(time.time())), None, Hosts.of(engine.settings))
    async with trio.open_nursery() as nursery:
        serve = partial(serve_app, app, listener, stop=stop.wait, grace=1.0, serving=serving)
        yield (await nursery.start(serve)).port
        stop.set()


def client_at(url, **more):
    return sdk_client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ROOT.access_key,
        aws_secret_access_key=ROOT.secret_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        **more,
    )


@pytest.fixture
async def engine(tmp_path):
    settings = replace(settings_for(tmp_path), customer_keys="tls")
    async with open_engine(settings, root=ROOT, now_ns=Clock(), masters=MASTERS) as made:
        await made.buckets.create("bucket", "stratum")
        yield made


@pytest.fixture
def certificate(tmp_path):
    """(server's context, path of what clients trust)"""
    secret = renew(tmp_path, ("127.0.0.1",), time.time())
    return load(secret, None), str(tmp_path / "certificate.pem")


async def in_thread(work):
    return await trio.to_thread.run_sync(work)


async def test_a_customers_key_is_taken_over_tls_alone(engine, certificate):
    context, trusted = certificate
    body = b"only with the key" * 100_000
    async with served(engine, Serving(tls=lambda: context)) as port:
        client = client_at(f"https://127.0.0.1:{port}", verify=trusted)
        await in_thread(lambda: client.put_object(Bucket="bucket", Key="k", Body=body, **KEY))
        got = await in_thread(lambda: client.get_object(Bucket="bucket", Key="k", **KEY)["Body"].read())
        assert got == body
        part = await in_thread(
            lambda: client.get_object(Bucket="bucket", Key="k", Range="bytes=1000000-1000016", **KEY)["Body"].read()
        )
        assert part == body[1_000_000:1_000_017]
        upload = await in_thread(lambda: client.create_multipart_upload(Bucket="bucket", Key="m", **KEY))
        named = {"Bucket": "bucket", "Key": "m", "UploadId": upload["UploadId"]}
        sent = await in_thread(lambda: client.upload_part(**named, PartNumber=1, Body=body, **KEY))
        parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"]}]}
        await in_thread(lambda: client.complete_multipart_upload(**named, MultipartUpload=parts, **KEY))
        assert await in_thread(lambda: client.get_object(Bucket="bucket", Key="m", **KEY)["Body"].read()) == body
        with pytest.raises(ClientError, match="400"):
            await in_thread(lambda: client.head_object(Bucket="bucket", Key="k"))
        await in_thread(client.close)
    async with served(engine, Serving()) as port:
        status, told = await in_thread(partial(asked, f"http://127.0.0.1:{port}/bucket/k"))
        assert (status, b"secure connection" in told) == (400, True)


def asked(url):
    """GET with a customer's key, which clients do not send without TLS: (status, body)."""
    digest = base64.b64encode(hashlib.md5(KEY["SSECustomerKey"]).digest()).decode()
    name = "x-amz-server-side-encryption-customer-"
    secret = base64.b64encode(KEY["SSECustomerKey"]).decode()
    headers = {f"{name}algorithm": "AES256", f"{name}key": secret, f"{name}key-MD5": digest}
    made = AWSRequest(method="GET", url=url, headers=headers)
    S3SigV4Auth(Credentials(ROOT.access_key, ROOT.secret_key), "s3", "us-east-1").add_auth(made)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(made.headers.items()))) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def status_of(url, context):
    try:
        with urllib.request.urlopen(url, context=context) as answer:
            return answer.status
    except HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("protocol", ["httptools", "h11"])
async def test_a_policy_may_ask_for_a_version_of_tls(engine, certificate, protocol):
    context, trusted = certificate
    async with served(engine, Serving(tls=lambda: context, protocol=protocol)) as port:
        client = client_at(f"https://127.0.0.1:{port}", verify=trusted)
        await in_thread(lambda: client.put_object(Bucket="bucket", Key="k", Body=b"x"))
        url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
        await in_thread(lambda: client.put_bucket_policy(Bucket="bucket", Policy=json.dumps(OLD_TLS)))
        for version, allowed in ((ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, False)):
            asking = ssl.create_default_context(cafile=trusted)
            asking.maximum_version = version
            assert await in_thread(partial(status_of, url, asking)) == (200 if allowed else 403)
        await in_thread(client.close)


def test_the_version_of_a_proxys_connection_is_not_taken_for_the_clients():
    request = Request(method="GET", raw_path=b"/", peer="10.0.0.1", scheme="https", tls_version="1.3")
    assert seen_through(request, networks(("10.0.0.1",))).tls_version == ""
    assert seen_through(request, ()).tls_version == "1.3"
