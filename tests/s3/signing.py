"""Requests signed the way clients sign them: by botocore, and by hand for what botocore does not do."""

import hashlib
import hmac

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stratum.core.errors import NoSuchCredential
from stratum.s3.http import Request
from stratum.s3.sigv4 import EMPTY_SHA256, Seal, Verifier, signing_key

ACCESS, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION = "us-east-1"
NOW = 1369353600  # 20130524T000000Z, the day of AWS' own examples
STAMP = "20130524T000000Z"
SCOPE = f"20130524/{REGION}/s3/aws4_request"


def secret_of(access_key: str) -> str:
    if access_key != ACCESS:
        raise NoSuchCredential(access_key)
    return SECRET


def verifier() -> Verifier:
    return Verifier(region=REGION, secret_of=secret_of)


def request(method: str, target: str, headers: dict[str, str], body=None) -> Request:
    path, _, query = target.partition("?")
    extra = {} if body is None else {"body": body}
    return Request(
        method=method,
        raw_path=path.encode(),
        raw_query=query.encode(),
        headers=[(name.lower().encode(), value.encode()) for name, value in headers.items()],
        **extra,
    )


def now_of(made: AWSRequest) -> int:
    """botocore signs at the time of the machine; the tests ask it when that was."""
    import calendar
    import time

    return calendar.timegm(time.strptime(made.context["timestamp"], "%Y%m%dT%H%M%SZ"))


def signed(method: str, target: str, headers: dict[str, str], *, presign: int | None = None, secret: str = SECRET):
    """(request, the time it was signed at), signed by botocore."""
    made = AWSRequest(method=method, url=f"http://localhost{target}", headers=headers, data=b"")
    made.context["payload_signing_enabled"] = True
    credentials = Credentials(ACCESS, secret)
    if presign is None:
        S3SigV4Auth(credentials, "s3", REGION).add_auth(made)
    else:
        S3SigV4QueryAuth(credentials, "s3", REGION, expires=presign).add_auth(made)
    sent = {"Host": "localhost", **dict(made.headers.items())}
    return request(method, made.url.removeprefix("http://localhost"), sent), now_of(made)


def streaming(mode: str, headers: dict[str, str], *, target: str = "/bucket/key") -> Request:
    """A PUT with the given streaming mode, signed by hand at NOW."""
    headers = {"host": "localhost", "x-amz-content-sha256": mode, "x-amz-date": STAMP, **headers}
    names = sorted(headers)
    lines = "".join(f"{name}:{headers[name]}\n" for name in names)
    canonical = f"PUT\n{target}\n\n{lines}\n{';'.join(names)}\n{mode}"
    text = f"AWS4-HMAC-SHA256\n{STAMP}\n{SCOPE}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    proof = hmac.new(signing_key(SECRET, "20130524", REGION, "s3"), text.encode(), hashlib.sha256).hexdigest()
    credential = f"AWS4-HMAC-SHA256 Credential={ACCESS}/{SCOPE}, SignedHeaders={';'.join(names)}, Signature={proof}"
    return request("PUT", target, {**headers, "authorization": credential})


SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"


def seal(seed: str = SEED) -> Seal:
    return Seal(signing_key(SECRET, "20130524", REGION, "s3"), STAMP, SCOPE, seed)


class Signer:
    """Signs chunks and trailers as a client does, independently of Seal."""

    def __init__(self, seed: str = SEED) -> None:
        self.key, self.last = signing_key(SECRET, "20130524", REGION, "s3"), seed

    def _next(self, kind: str, hashed: str) -> str:
        text = "\n".join((f"AWS4-HMAC-SHA256-{kind}", STAMP, SCOPE, self.last, hashed))
        self.last = hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
        return self.last

    def chunk(self, content: bytes) -> str:
        return self._next("PAYLOAD", f"{EMPTY_SHA256}\n{hashlib.sha256(content).hexdigest()}")

    def trailer(self, line: bytes) -> str:
        return self._next("TRAILER", hashlib.sha256(line).hexdigest())


def encoded(chunks: list[bytes], *, signer: Signer | None = None, trailer: str = "", line_end: str = "\r\n") -> bytes:
    """An aws-chunked body. `trailer`: a `name:value` line for the end."""
    out = bytearray()
    for content in [*chunks, b""]:
        seal_text = f";chunk-signature={signer.chunk(content)}" if signer else ""
        out += f"{len(content):x}{seal_text}\r\n".encode() + content + (b"\r\n" if content else b"")
    if trailer:
        out += f"{trailer}{line_end}".encode()
        if signer:
            line = f"{trailer}\n".encode()
            out += f"x-amz-trailer-signature:{signer.trailer(line)}\r\n".encode()
    return bytes(out + b"\r\n")
