"""Who a request claims to be from: the Authorization header or the parameters of a presigned URL, taken apart.

Room: stratum/s3. May import: core.checksums, s3.{errors, headers, http, routes}.

Nothing is believed here; `sigv4.py` verifies. Sources: docs.aws.amazon.com/AmazonS3/latest/API/
sigv4-auth-using-authorization-header.html and sigv4-query-string-auth.html.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from stratum.core.checksums import ALGORITHMS, encode_base64
from stratum.s3.errors import S3Error
from stratum.s3.headers import META, checked, mail_safe, parse_http_date
from stratum.s3.http import Headers, Request
from stratum.s3.routes import Query

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
PRESIGNED_SECONDS_MAX = 7 * 86400
FIELD_MAX = 4096

# Parameters of a presigned URL that are its signature, not headers moved into the URL.
SIGNING_PARAMETERS = frozenset(
    (
        "X-Amz-Algorithm",
        "X-Amz-Content-Sha256",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
    )
)

CHECKSUMS_OF_NOTHING = {
    f"x-amz-checksum-{name}": encode_base64(algorithm.start().digest()) for name, algorithm in ALGORITHMS.items()
}

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM}\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([^,\s]+)\s*"
)
_ISO = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_SIGNED_HEADERS = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(?:;[a-z0-9!#$%&'*+.^_`|~-]+)*")
_HEADER_MALFORMED, _QUERY_MALFORMED = "AuthorizationHeaderMalformed", "AuthorizationQueryParametersError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A signature and everything it says about itself. Times are whole seconds since the epoch."""

    access_key: str
    date: str  # YYYYMMDD of the credential scope
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str  # YYYYMMDDTHHMMSSZ
    time_s: int
    content_sha256: str
    expires_s: int | None = None  # seconds of validity of a presigned URL; None: signed by header
    token: str = field(default="", repr=False)  # of temporary credentials

    @property
    def presigned(self) -> bool:
        """Is it a presigned URL?"""
        return self.expires_s is not None

    @property
    def scope(self) -> str:
        """The credential scope, without the access key."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"

    @property
    def malformed(self) -> str:
        """The code of the error for a claim that is not well formed, by where it stood."""
        return _QUERY_MALFORMED if self.presigned else _HEADER_MALFORMED


def claim_of(request: Request, query: Query, body_sha256: str | None = None) -> Claim | None:
    """Return the claim of a request, or None if it makes none.

    `body_sha256`: hex digest of the body that came, of a service whose clients sign it without saying it (STS).

    Raises AuthorizationHeaderMalformed, AuthorizationQueryParametersError, InvalidArgument, InvalidRequest,
    InvalidToken, AccessDenied (no usable date). Version 2 is another matter: sigv2.py.
    """
    authorization = request.header("authorization")
    in_query = bool(SIGNING_PARAMETERS & query.keys())
    if authorization is not None and in_query:
        raise S3Error("InvalidArgument", "Only one auth mechanism allowed", ArgumentName="Authorization")
    token, moved = request.header("x-amz-security-token"), query.get("X-Amz-Security-Token")
    if (token is not None and (moved is not None or authorization is None)) or "" in (token, moved):
        raise S3Error("InvalidToken")
    if authorization is not None:
        claim = _from_header(request, authorization, body_sha256)
        return claim if token is None else replace(claim, token=token)
    claim_by_query = _from_query(request, query) if in_query else None
    return claim_by_query if claim_by_query is None or moved is None else replace(claim_by_query, token=moved)


def _from_header(request: Request, authorization: str, body_sha256: str | None) -> Claim:
    if not authorization.startswith(ALGORITHM):
        raise S3Error("InvalidArgument", "Unsupported Authorization Type", ArgumentName="Authorization")
    match = _AUTHORIZATION.fullmatch(authorization) if len(authorization) <= FIELD_MAX else None
    if match is None:
        raise S3Error(_HEADER_MALFORMED)
    content_sha256 = request.header("x-amz-content-sha256") if body_sha256 is None else body_sha256
    if content_sha256 is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    timestamp, time_s = _date_of(request)
    return _claim(_HEADER_MALFORMED, match.groups(), timestamp, time_s, content_sha256, None)


def _from_query(request: Request, query: Query) -> Claim:
    names = ("X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Date", "X-Amz-Expires")
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise S3Error(_QUERY_MALFORMED, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    if any(not query.get(name) or len(query[name]) > FIELD_MAX for name in names):
        raise S3Error(_QUERY_MALFORMED, "A query-string authentication parameter is missing.")
    expires = query["X-Amz-Expires"]
    if not re.fullmatch(r"-?[0-9]{1,9}", expires, re.ASCII):
        raise S3Error(_QUERY_MALFORMED, "X-Amz-Expires must be a number of seconds")
    if not 1 <= int(expires) <= PRESIGNED_SECONDS_MAX:  # a lifetime that nothing can have: no such URL is good (403)
        raise S3Error("AccessDenied", f"X-Amz-Expires must be between 1 and {PRESIGNED_SECONDS_MAX} seconds")
    timestamp = query["X-Amz-Date"]
    time_s = timestamp_s(timestamp)
    if time_s is None:
        raise S3Error(_QUERY_MALFORMED, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    content_sha256 = request.header("x-amz-content-sha256") or query.get("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD)
    fields = tuple(query[name] for name in names[:3])
    return _claim(_QUERY_MALFORMED, fields, timestamp, time_s, content_sha256, int(expires))


def _claim(
    code: str, fields: tuple[str, ...], timestamp: str, time_s: int, content_sha256: str, expires_s: int | None
) -> Claim:
    credential, signed_headers, signature = fields
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not parts[0] or parts[4] != "aws4_request" or not credential.isascii():
        raise S3Error(code, 'The Credential must be of the form "<access key>/YYYYMMDD/REGION/SERVICE/aws4_request".')
    if not _SIGNED_HEADERS.fullmatch(signed_headers):
        raise S3Error(code, "SignedHeaders must be a list of lower-case names, separated by semicolons.")
    access_key, date, region, service, _ = parts
    return Claim(
        access_key=access_key,
        date=date,
        region=region,
        service=service,
        signed_headers=tuple(signed_headers.split(";")),
        signature=signature,
        timestamp=timestamp,
        time_s=time_s,
        content_sha256=content_sha256,
        expires_s=expires_s,
    )


def _date_of(request: Request) -> tuple[str, int]:
    """The time of a request signed by header: x-amz-date, or Date in either form."""
    text = request.header("x-amz-date") or request.header("date") or ""
    time_s = timestamp_s(text)
    if time_s is not None:
        return text, time_s
    time_s = parse_http_date(text) if text else None
    if time_s is None or not 0 <= time_s < 2**35:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y%m%dT%H%M%SZ"), time_s


def timestamp_s(text: str) -> int | None:
    """Seconds since the epoch of `YYYYMMDDTHHMMSSZ`, or None."""
    match = _ISO.fullmatch(text)
    try:
        return int(datetime(*map(int, match.groups()), tzinfo=UTC).timestamp()) if match else None  # type: ignore[arg-type, misc]
    except (ValueError, OverflowError):
        return None


def moved_headers(request: Request, query: Query) -> Headers:
    """Return the x-amz-* headers that a presigner put into the URL instead: signed with it, so as good as headers.

    But for the checksum of nothing: SDKs that add a checksum by default add it to a URL too, before there is a body
    (the JavaScript SDK since 3.729). It says nothing of the upload; any other value was meant, and is held to.
    Raises InvalidArgument for one that is also there as a header, or that is not fit for a header.
    """
    moved: Headers = []
    idle = {name for name, value in query.items() if CHECKSUMS_OF_NOTHING.get(name.lower()) == value}
    if idle:
        idle.add("x-amz-sdk-checksum-algorithm")
    query = {name: value for name, value in query.items() if name not in idle}
    for name, value in query.items():
        lower = name.lower()
        if lower.startswith("x-amz-") and name not in SIGNING_PARAMETERS:
            if not lower.isascii() or request.header(lower) is not None or lower in {n.decode() for n, _ in moved}:
                raise S3Error("InvalidArgument", "A header was given twice.", ArgumentName=name)
            safe = mail_safe(value) if lower.startswith(META) else value
            moved.append((lower.encode(), checked(name, safe).encode()))
    return moved
