"""AWS Signature Version 4: verify who sent a request and that what was signed is what came.

Room: stratum/s3. May import: core.errors, s3.{claims, errors, http, routes, sigv2}.

Invariants
    V1  Sans I/O: the request, the secret and the time are given. Nothing is read from a body here.
    V2  A header that could change what a request means (`x-amz-*`, Host, Content-MD5) and is not signed is refused:
        a presigned URL grants that one request and nothing else.
    V3  The signature is verified in every payload mode, also when the body is not signed.
    V4  An unknown access key and a wrong signature take the same path, and signatures are compared in constant time.

Source: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, sigv4-streaming-trailers.html.
"""

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

from stratum.core.errors import NoSuchCredential
from stratum.s3.claims import ALGORITHM, SIGNING_PARAMETERS, UNSIGNED_PAYLOAD, Claim, claim_of, moved_headers
from stratum.s3.errors import S3Error
from stratum.s3.http import Headers, Request
from stratum.s3.routes import Query, parse_query
from stratum.s3.sigv2 import PARAMETERS, OldClaim, check_old, old_claim_of, old_signature, strings_to_sign

SKEW_SECONDS_MAX = 15 * 60
SIGNING_KEYS_MAX = 1024
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

_UNRESERVED_PATH = re.compile(rb"[A-Za-z0-9/_.~-]*")
_CUSTOMER_KEY = re.compile(r"(customer-key[:=])[^\n&]*")  # of SSE-C: shown nowhere, not even to who sent it
CREDENTIAL_PARAMETERS = frozenset(map(str.lower, SIGNING_PARAMETERS | PARAMETERS))
NOBODYS_SECRET = "x" * 40  # signs for access keys that do not exist (V4)


@dataclass(slots=True)
class Seal:
    """The running signature of an aws-chunked body: each one covers the one before."""

    key: bytes = field(repr=False)
    timestamp: str
    scope: str
    last: str

    def check_chunk(self, sha256_hex: str, given: str) -> None:
        """Verify the next chunk. Raises SignatureDoesNotMatch."""
        self._check("AWS4-HMAC-SHA256-PAYLOAD", f"{EMPTY_SHA256}\n{sha256_hex}", given)

    def check_trailer(self, lines: bytes, given: str) -> None:
        """Verify the trailer, as `name:value` lines each with a line feed. Raises SignatureDoesNotMatch."""
        self._check("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(lines).hexdigest(), given)

    def _check(self, kind: str, hashed: str, given: str) -> None:
        text = f"{kind}\n{self.timestamp}\n{self.scope}\n{self.last}\n{hashed}"
        self.last = _hmac(self.key, text).hex()
        if not hmac.compare_digest(self.last.encode(), given.encode("latin-1", "replace")):
            raise S3Error("SignatureDoesNotMatch", StringToSign=text, SignatureProvided=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Who signed a request, and how its payload is vouched for."""

    access_key: str
    content_sha256: str  # 64 hex digits, UNSIGNED-PAYLOAD or STREAMING-...
    seal: Callable[[], Seal] = field(repr=False)  # begins the chain of signatures of an aws-chunked body
    moved_headers: Headers = field(default_factory=list)  # x-amz-* parameters of the URL: treat them as headers
    presigned: bool = False
    signed_s: int | None = None  # when, seconds since the epoch, where that is known
    old: bool = False  # by signature version 2
    token: str = field(default="", repr=False)  # of temporary credentials


class Verifier:
    """Verifies signatures for one region. `secret_of` raises NoSuchCredential for an unknown access key.

    `session_secret_of` is asked of an access key with the token of a session, and raises BadSession, ExpiredSession,
    NoSuchCredential; None: sessions are refused.
    """

    def __init__(
        self,
        *,
        region: str,
        secret_of: Callable[[str], str],
        session_secret_of: Callable[[str, str], str] | None = None,
    ) -> None:
        self._region = region
        self._secret_of = secret_of
        self._session_secret_of = session_secret_of
        self._keys: OrderedDict[tuple[str, ...], bytes] = OrderedDict()

    def verify(
        self,
        request: Request,
        *,
        now_s: int,
        anonymous: bool = False,
        service: str = "s3",
        body_sha256: str | None = None,
    ) -> Verified:
        """Return who signed the request at `now_s`, seconds since the epoch.

        `anonymous`: of one that claims to be nobody's the access key is empty; else it is refused. `body_sha256`: see
        claims.py; of other services than S3.
        Raises AccessDenied (nobody did, it has expired, or a header is not signed), SignatureDoesNotMatch,
        InvalidAccessKeyId, RequestTimeTooSkewed, AuthorizationHeaderMalformed and the like.
        """
        query = parse_query(request.raw_query)
        old = old_claim_of(request, query) if service == "s3" else None
        if old is not None:
            return self._verify_old(old, request, query, now_s)
        claim = claim_of(request, query, body_sha256)
        if claim is None:
            return _nobodys(request, query, anonymous=anonymous)
        self._check_scope(claim, service)
        check_time(claim, now_s)
        check_signed_headers(claim, request)
        canonical = canonical_request(claim, request, query)
        key = self._check_signature(claim, canonical)
        return Verified(
            access_key=claim.access_key,
            content_sha256=claim.content_sha256,
            seal=lambda: Seal(key, claim.timestamp, claim.scope, claim.signature),
            moved_headers=moved_headers(request, query),
            presigned=claim.presigned,
            signed_s=claim.time_s,
            token=claim.token,
        )

    def _verify_old(self, claim: OldClaim, request: Request, query: Query, now_s: int) -> Verified:
        """As `verify`, for version 2: the body is never signed, so it may not claim to be."""
        check_old(claim, request, query, now_s)
        content_sha256 = request.header("x-amz-content-sha256") or UNSIGNED_PAYLOAD
        if content_sha256.startswith("STREAMING-AWS4"):
            raise S3Error("InvalidRequest", "A body whose pieces are signed needs a signature of version 4.")
        texts = strings_to_sign(claim, request, query)
        secret, known = self._secret(claim.access_key, claim.token)
        given = claim.signature.encode("utf-8", "replace")
        matches = [hmac.compare_digest(old_signature(secret, text).encode(), given) for text in texts]
        self._refuse(claim, known=known, right=any(matches), StringToSign=texts[0])
        return Verified(
            access_key=claim.access_key,
            content_sha256=content_sha256,
            seal=_no_seal,
            moved_headers=moved_headers(request, query) if claim.presigned else [],
            presigned=claim.presigned,
            old=True,
            token=claim.token,
        )

    def _secret(self, access_key: str, token: str) -> tuple[str, bool]:
        """The secret, or nobody's: both then take the same path (V4)."""
        try:
            if not token:
                return self._secret_of(access_key), True
            if self._session_secret_of is None:
                raise S3Error("InvalidToken")
            return self._session_secret_of(access_key, token), True
        except NoSuchCredential:
            return NOBODYS_SECRET, False

    @staticmethod
    def _refuse(claim: Claim | OldClaim, *, known: bool, right: bool, **shown: str) -> None:
        if not known:
            raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
        if not right:
            names = {"AWSAccessKeyId": claim.access_key, "SignatureProvided": claim.signature}
            hidden = {name: _CUSTOMER_KEY.sub(r"\1***", text) for name, text in shown.items()}
            raise S3Error("SignatureDoesNotMatch", **names, **hidden)

    def _check_scope(self, claim: Claim, service: str) -> None:
        if claim.service != service:
            raise S3Error(claim.malformed, f"The service '{claim.service}' is wrong; expecting '{service}'.")
        if claim.region != self._region:
            message = f"The region '{claim.region}' is wrong; expecting '{self._region}'"
            raise S3Error(claim.malformed, message, Region=self._region)
        if claim.timestamp[:8] != claim.date:
            raise S3Error(
                claim.malformed, f"The date of the Credential is not that of the request, '{claim.timestamp[:8]}'."
            )

    def _check_signature(self, claim: Claim, canonical: str) -> bytes:
        secret, known = self._secret(claim.access_key, claim.token)
        hashed = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
        text = text_to_sign(claim, hashed)
        key = self._signing_key(secret, claim)
        expected = _hmac(key, text).hex()
        right = hmac.compare_digest(expected.encode(), claim.signature.encode("utf-8", "replace"))
        self._refuse(claim, known=known, right=right, StringToSign=text, CanonicalRequest=canonical)
        return key

    def _signing_key(self, secret: str, claim: Claim) -> bytes:
        """Derived once per secret, day, region and service: four HMACs otherwise, on every request."""
        name = (secret, claim.date, claim.region, claim.service)
        key = self._keys.get(name)
        if key is None:
            key = signing_key(*name)
            self._keys[name] = key
            if len(self._keys) > SIGNING_KEYS_MAX:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(name)
        return key


def _nobodys(request: Request, query: Query, *, anonymous: bool) -> Verified:
    """An anonymous request: with nothing at all in it that could be part of a signature."""
    pieces = CREDENTIAL_PARAMETERS & {name.lower() for name in query}
    if not anonymous or pieces:
        raise S3Error("AccessDenied")
    content_sha256 = request.header("x-amz-content-sha256") or UNSIGNED_PAYLOAD
    moved = moved_headers(request, query)
    return Verified(access_key="", content_sha256=content_sha256, seal=_no_seal, moved_headers=moved)


def _no_seal() -> Seal:
    raise S3Error("InvalidRequest", "A body whose pieces are signed needs a signature of version 4.")


def check_time(claim: Claim, now_s: int) -> None:
    """Refuse what is too old, expired or from the future. Raises RequestTimeTooSkewed, AccessDenied."""
    if claim.expires_s is not None:
        if claim.time_s > now_s + SKEW_SECONDS_MAX:
            raise S3Error("AccessDenied", "Request is not yet valid", ServerTime=_iso(now_s))
        if now_s > claim.time_s + claim.expires_s:
            expired = _iso(claim.time_s + claim.expires_s)
            raise S3Error("AccessDenied", "Request has expired", Expires=expired, ServerTime=_iso(now_s))
    elif abs(claim.time_s - now_s) > SKEW_SECONDS_MAX:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=claim.timestamp,
            ServerTime=_iso(now_s),
            MaxAllowedSkewMilliseconds=str(SKEW_SECONDS_MAX * 1000),
        )


def check_signed_headers(claim: Claim, request: Request) -> None:
    """Refuse headers that mean something and are not signed (V2). Raises AccessDenied."""
    signed = {name.encode() for name in claim.signed_headers}
    present = {b"host", *(name for name, _ in request.headers)}
    meaning = {name for name in present if name.startswith(b"x-amz-") or name in (b"host", b"content-md5")}
    if not meaning <= signed:
        names = ", ".join(sorted(name.decode("latin-1") for name in meaning - signed))
        message = "There were headers present in the request which were not signed"
        raise S3Error("AccessDenied", message, HeadersNotSigned=names)


def canonical_request(claim: Claim, request: Request, query: Query) -> str:
    """Return the canonical request that the claim signs."""
    return "\n".join(
        (
            request.method,
            _canonical_path(request.raw_path),
            _canonical_query(query),
            *(f"{name}:{_canonical_value(request, name)}" for name in claim.signed_headers),
            "",
            ";".join(claim.signed_headers),
            claim.content_sha256,
        )
    )


def text_to_sign(claim: Claim, hashed: str) -> str:
    """Return what the signing key signs. `hashed`: SHA-256 of the canonical request, in hex."""
    return f"{ALGORITHM}\n{claim.timestamp}\n{claim.scope}\n{hashed}"


def _canonical_path(raw: bytes) -> str:
    """Encoded once, never normalised. Clients differ in what they leave bare on the wire, so each part is recoded."""
    if _UNRESERVED_PATH.fullmatch(raw):
        return raw.decode("ascii")
    return "/".join(quote(unquote_to_bytes(part), safe="-_.~") for part in raw.split(b"/"))


def _canonical_query(query: Query) -> str:
    names = [name for name in query if name != "X-Amz-Signature"]
    pairs = sorted((quote(name, safe="-_.~"), quote(query[name], safe="-_.~")) for name in names)
    return "&".join(f"{name}={value}" for name, value in pairs)


def _canonical_value(request: Request, name: str) -> str:
    wanted = name.encode()
    values = (b" ".join(value.split()) for key, value in request.headers if key == wanted)
    return b",".join(values).decode("utf-8", "surrogateescape")


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """Return the key derived for one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _iso(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
