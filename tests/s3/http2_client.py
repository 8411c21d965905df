"""boto3 over HTTP/2: botocore makes and signs the requests as ever, httpcore (what httpx sends with) carries them."""

import io
import ssl

import httpcore
from botocore.awsrequest import AWSResponse
from urllib3 import HTTPResponse

PIECE = 64 * 1024


def speak_http2(client) -> httpcore.ConnectionPool:
    """Let `client` speak HTTP/2 and nothing else; returns what is to be closed after it."""
    pool = httpcore.ConnectionPool(ssl_context=ssl.create_default_context(), http1=False, http2=True)

    def carry(request, **_):
        url = httpcore.URL(request.url)
        headers = [(name.encode(), _bytes(value)) for name, value in request.headers.items()]
        headers.append((b"Host", _host(request, url)))
        with pool.stream(request.method, url, headers=headers, content=_pieces(request.body)) as response:
            assert response.extensions["http_version"] == b"HTTP/2"
            content = b"".join(response.iter_stream())
        named = [(name.decode(), value.decode("latin-1")) for name, value in response.headers]
        kept = {"preload_content": False, "decode_content": False, "request_method": request.method}
        raw = HTTPResponse(io.BytesIO(content), headers=named, status=response.status, **kept)
        return AWSResponse(request.url, response.status, dict(named), raw)

    client.meta.events.register("before-send.s3", carry)
    return pool


def _host(request, url: httpcore.URL) -> bytes:
    named = request.headers.get("Host")
    return _bytes(named) if named else b"%b:%d" % (url.host, url.port)


def _bytes(value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


def _pieces(body):
    if body is None or isinstance(body, (bytes, bytearray)):
        return [bytes(body or b"")[at : at + PIECE] for at in range(0, len(body or b""), PIECE)]
    return iter(lambda: body.read(PIECE), b"")
