"""The real process over TLS, asked by boto3 and by its own command line, on both HTTP/1.1 connections.

Only over TLS botocore sends aws-chunked bodies with trailers, and it nests them in HTTP chunks.
"""

import hashlib
import io
import json
import os
import re
import socket
import ssl

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from click.testing import CliRunner

from stratum.serve.cli import main
from tests.sdk import sdk_client
from tests.serve.running import Running

pytestmark = pytest.mark.system

MIB = 1 << 20


class Unseekable(io.RawIOBase):
    """A body of unknown length, such as a pipe."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._content.read(size)


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request, tmp_path_factory):
    """(client, data folder) of a process with a self-signed certificate."""
    folder = tmp_path_factory.mktemp("tls")
    settings = {"STRATUM_S3_TLS_SELF_SIGNED": "true", "STRATUM_S3_CONNECTION": request.param}
    arguments = ("serve", "--data", str(folder / "data"), "--s3", "127.0.0.1:0", "--guide")
    with Running(folder, *arguments, **settings) as running:
        url = running.read_until(r"^ready s3=(https://\S+).*\n")[1]
        exports = dict(re.findall(r"^export (\w+)=(\S+)$", running.text, re.M))
        assert exports["AWS_ENDPOINT_URL"] == url
        client = sdk_client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=exports["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=exports["AWS_SECRET_ACCESS_KEY"],
            region_name=exports["AWS_DEFAULT_REGION"],
            verify=exports["AWS_CA_BUNDLE"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        client.create_bucket(Bucket="bucket")
        yield client, folder / "data"
        client.close()


@pytest.mark.parametrize(("http2", "of_s3"), [("true", "h2"), ("false", "http/1.1")])
def test_http2_is_offered_by_the_endpoint_if_asked_for_and_never_by_the_console(tmp_path, http2, of_s3):
    settings = {"STRATUM_S3_TLS_SELF_SIGNED": "true", "STRATUM_S3_HTTP2": http2}
    console = free_port()
    arguments = ("serve", "--data", str(tmp_path / "data"), "--s3", "127.0.0.1:0")
    with Running(tmp_path, *arguments, STRATUM_CONSOLE_ADDRESS=f"127.0.0.1:{console}", **settings) as running:
        port = int(running.read_until(r"^ready s3=https://\S+:(\d+).*\n")[1])
        assert [agreed(port), agreed(console)] == [of_s3, "http/1.1"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def agreed(port: int) -> str | None:
    """What a client that would take both agrees on."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as stream:
        return stream.selected_alpn_protocol()


def body_of(client, key: str, **more) -> bytes:
    return client.get_object(Bucket="bucket", Key=key, **more)["Body"].read()


@pytest.mark.parametrize("size", [0, 1, 65_536, 5 * MIB + 1])
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC64NVME", "SHA256"])
def test_a_file_goes_in_with_a_trailer_and_comes_out(server, size, algorithm):
    client, _ = server
    content = os.urandom(size)
    answer = client.put_object(Bucket="bucket", Key="k", Body=io.BytesIO(content), ChecksumAlgorithm=algorithm)
    assert answer[f"Checksum{algorithm}"]
    assert body_of(client, "k") == content


@pytest.mark.parametrize("size", [1, 65_537, 5 * MIB])
def test_a_body_of_unknown_length_goes_in_by_parts_and_comes_out(server, size):
    client, _ = server
    content = os.urandom(size)
    client.upload_fileobj(Unseekable(content), "bucket", "pipe")
    assert body_of(client, "pipe") == content


def test_parts_become_an_object_and_ranges_of_it_are_read(server):
    client, _ = server
    upload = client.create_multipart_upload(Bucket="bucket", Key="parts", ChecksumAlgorithm="CRC32")["UploadId"]
    where = {"Bucket": "bucket", "Key": "parts", "UploadId": upload}
    contents, parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"end"], []
    for number, content in enumerate(contents, 1):
        part = client.upload_part(**where, PartNumber=number, Body=io.BytesIO(content), ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    whole = b"".join(contents)
    assert hashlib.sha256(body_of(client, "parts")).digest() == hashlib.sha256(whole).digest()
    assert body_of(client, "parts", Range="bytes=5242870-5242890") == whole[5242870:5242891]
    assert body_of(client, "parts", Range="bytes=-3") == b"end"
    assert body_of(client, "parts", PartNumber=3) == b"end"


def test_a_refused_upload_is_told_why_and_the_next_one_works(server):
    client, _ = server
    client.put_object(Bucket="bucket", Key="held", Body=io.BytesIO(b"first"))
    for _ in range(2):
        with pytest.raises(ClientError, match="PreconditionFailed"):
            client.put_object(Bucket="bucket", Key="held", Body=io.BytesIO(bytes(3 * MIB)), IfNoneMatch="*")
        with pytest.raises(ClientError, match="NoSuchBucket"):
            client.put_object(Bucket="no-such-bucket", Key="k", Body=io.BytesIO(bytes(3 * MIB)))
    client.put_object(Bucket="bucket", Key="held", Body=io.BytesIO(b"second"))
    assert body_of(client, "held") == b"second"


def test_the_command_line_asks_over_tls_too(server):
    client, data = server
    runner = CliRunner(env={name: None for name in os.environ if name.startswith("STRATUM_")})
    answer = runner.invoke(main, ["status", "--json", "--data", str(data)])
    assert answer.exit_code == 0, answer.output
    assert client.meta.endpoint_url in json.dumps(json.loads(answer.output))
