"""A real client against the wire, over HTTP and over TLS: SDKs frame, sign and sum differently on each."""

import datetime
import ipaddress
import ssl
import threading
import time
from dataclasses import replace

import pytest
import trio
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stratum.core.checksums import Digests
from stratum.core.errors import StratumError
from stratum.s3.app import make_app
from stratum.s3.errors import error_response
from stratum.s3.http import Request, Response, header
from stratum.s3.payload import STREAMING_UNSIGNED_TRAILER, open_payload
from stratum.s3.routes import parse_query, route
from stratum.s3.serve import Serving, open_listener, serve_app
from tests.s3.signing import ACCESS, REGION, SECRET, verifier
from tests.sdk import sdk_client


class Shelf:
    """The smallest door: keeps objects in a dict; everything before and after it is the real wire."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, bytes], bytes] = {}
        self.modes: list[str] = []
        self._verifier = verifier()

    async def handle(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except StratumError as error:
            return error_response(error, resource="", request_id="R", host_id="H", head=request.method == "HEAD")

    async def _answer(self, request: Request) -> Response:
        verified = self._verifier.verify(request, now_s=int(time.time()))
        self.modes.append(verified.content_sha256)
        request = replace(request, headers=[*request.headers, *verified.moved_headers])
        found = route(request.method, request.raw_path, parse_query(request.raw_query))
        place = (found.bucket, found.key)
        if request.method == "GET":
            return Response(200, [header("etag", '"e"')], self.objects[place])
        payload = open_payload(request, verified)
        digests, content = Digests(payload.algorithms), b""
        async for piece in payload.body:
            digests.update(piece)
            content += piece
        checksum = payload.check(digests.results(), len(content))
        self.objects[place] = content
        return Response(200, [header("etag", '"e"'), header(f"x-amz-checksum-{checksum.algorithm}", checksum.value)])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(file with certificate and key) for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    kind = serialization.Encoding.PEM
    secret = key.private_bytes(kind, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(kind) + secret)
    return path


@pytest.fixture(scope="module", params=["http", "https"])
def served(request, certificate, connection):
    """(shelf, client) with the wire between them, on a thread of its own."""
    tls = None
    if request.param == "https":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    serving = Serving(protocol="h11" if connection == "h11" else "httptools", tls=None if tls is None else lambda: tls)
    shelf, begun, tools = Shelf(), threading.Event(), {}

    async def serve() -> None:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            listener = open_listener("127.0.0.1", 0)
            tools["stop"], tools["token"] = stop, trio.lowlevel.current_trio_token()

            async def run(task_status) -> None:
                app = make_app(shelf)
                await serve_app(app, listener, stop=stop.wait, grace=1, serving=serving, task_status=task_status)

            tools["port"] = (await nursery.start(run)).port
            begun.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert begun.wait(10)
    client = sdk_client(
        "s3",
        endpoint_url=f"{request.param}://127.0.0.1:{tools['port']}",
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        region_name=REGION,
        verify=str(certificate) if tls else None,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    yield shelf, client
    client.close()
    trio.from_thread.run_sync(tools["stop"].set, trio_token=tools["token"])
    thread.join(10)


KEYS = ["plain", "a//b", "/lead", "trail/", "../x", "./.", "a b+c%2F", "käse/€/😀", "(!'*)~", "q?x=1&y", "a;b=c", "%"]


@pytest.mark.parametrize("key", KEYS)
def test_every_key_goes_in_and_comes_out(served, key):
    shelf, client = served
    client.put_object(Bucket="bucket", Key=key, Body=b"content of " + key.encode())
    assert shelf.objects["bucket", key.encode()] == b"content of " + key.encode()
    assert client.get_object(Bucket="bucket", Key=key)["Body"].read() == b"content of " + key.encode()


@pytest.mark.parametrize("size", [0, 1, 8191, 1 << 20, (1 << 20) + 1, 5_000_000])
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256", "CRC64NVME"])
def test_every_size_and_checksum_arrives(served, size, algorithm, tmp_path):
    shelf, client = served
    path = tmp_path / "body"
    path.write_bytes(bytes(size))
    with path.open("rb") as body:  # a file makes the client ask first: Expect: 100-continue
        client.put_object(Bucket="bucket", Key="sized", Body=body, ChecksumAlgorithm=algorithm)
    assert shelf.objects["bucket", b"sized"] == bytes(size)


def test_over_tls_the_client_sends_trailers_and_over_http_it_signs_the_payload(served):
    shelf, client = served
    client.put_object(Bucket="bucket", Key="k", Body=b"x")
    assert (shelf.modes[-1] == STREAMING_UNSIGNED_TRAILER) is client.meta.endpoint_url.startswith("https")


def test_a_presigned_url_grants_its_request_and_no_other(served):
    shelf, client = served
    shelf.objects["bucket", b"secret"] = b"secret"
    shelf.objects["bucket", b"shown"] = b"shown"
    url = client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "shown"}, ExpiresIn=60)
    trusted = client._endpoint.http_session._verify
    pool = urllib3.PoolManager(ca_certs=trusted if isinstance(trusted, str) else None)
    assert pool.request("GET", url).data == b"shown"
    assert pool.request("GET", url.replace("/shown", "/secret")).status == 403
    assert pool.request("GET", url, headers={"x-amz-copy-source": "/bucket/secret"}).status == 403
    pool.clear()


def test_a_wrong_secret_is_told_so(served):
    _, client = served
    other = sdk_client(
        "s3",
        endpoint_url=client.meta.endpoint_url,
        aws_access_key_id=ACCESS,
        aws_secret_access_key="wrong",
        region_name=REGION,
        verify=client._endpoint.http_session._verify,
        config=client.meta.config,
    )
    with pytest.raises(ClientError) as caught:
        other.put_object(Bucket="bucket", Key="k", Body=b"x" * 100_000)
    other.close()
    assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
