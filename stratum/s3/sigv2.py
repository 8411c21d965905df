"""AWS Signature Version 2, for clients that still make it: boto3's presigned URLs for us-east-1, s3cmd's fallback.

Room: stratum/s3. May import: s3.{claims, errors, headers, http, routes}.

Invariants
    W1  It covers less than version 4: method, Content-MD5, Content-Type, a date, every x-amz-* header, the path and the
        parameters that name a sub-resource; never the body, Range or the paging of a listing.
    W2  Therefore a presigned URL may carry no parameter beyond those that are signed and those of `PAGING`: otherwise
        whoever holds it could turn it into another request.
    W3  Sans I/O, as sigv4: request, secret and time are given.

Source: docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html (as of 2024).
"""

import base64
import hmac
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from stratum.s3.claims import FIELD_MAX, SIGNING_PARAMETERS
from stratum.s3.errors import S3Error
from stratum.s3.headers import parse_http_date
from stratum.s3.http import Request
from stratum.s3.routes import Query

SKEW_SECONDS_MAX = 15 * 60
EXPIRES_SECONDS_MAX = 7 * 86400  # as presigned URLs of version 4; version 2 itself knows no limit
PARAMETERS = frozenset(("AWSAccessKeyId", "Expires", "Signature"))

# Parameters that are part of what is signed, by the documents and by the clients that follow them.
SIGNED = frozenset({
    "accelerate", "acl", "analytics", "cors", "delete", "intelligent-tiering", "inventory", "lifecycle", "location",
    "logging", "metrics", "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment",
    "restore", "select", "select-type", "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId",
    "versioning", "versions", "website", "defaultObjectAcl", "response-cache-control",
    "response-content-disposition", "response-content-encoding", "response-content-language",
    "response-content-type", "response-expires",
})  # fmt: skip
PAGING = frozenset({
    "continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker",
    "max-keys", "max-parts", "max-uploads", "part-number-marker", "prefix", "start-after", "upload-id-marker",
    "version-id-marker", "x-id",
})  # fmt: skip

TOKEN = "x-amz-security-token"
MOVED = ("content-md5", "content-type")  # signed headers that a presigner may put into the URL, besides x-amz-*

_AUTHORIZATION = re.compile(r"AWS ([^:\s]+):([A-Za-z0-9+/=]+)")
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class OldClaim:
    """A signature of version 2 and what it says about itself."""

    access_key: str
    signature: str  # base64
    expires: str = ""  # of a presigned URL: seconds since the epoch, as it stands in the URL
    token: str = field(default="", repr=False)  # of temporary credentials

    @property
    def presigned(self) -> bool:
        """Is it a presigned URL?"""
        return bool(self.expires)


def old_claim_of(request: Request, query: Query) -> OldClaim | None:
    """Return the claim of a request signed by version 2, None if it is not.

    Raises InvalidArgument, InvalidToken, AccessDenied.
    """
    authorization = request.header("authorization") or ""
    by_header, by_query = authorization.startswith("AWS "), "AWSAccessKeyId" in query
    if not (by_header or by_query):
        return None
    if by_header + by_query + bool(SIGNING_PARAMETERS & query.keys()) > 1 or (by_query and authorization):
        raise S3Error("InvalidArgument", "Only one auth mechanism allowed", ArgumentName="Authorization")
    token = _token_of(request, query, by_header=by_header)
    if by_header:
        match = _AUTHORIZATION.fullmatch(authorization) if len(authorization) <= FIELD_MAX else None
        if match is None:
            message = "AWS authorization header is invalid. Expected AwsAccessKeyId:signature"
            raise S3Error("InvalidArgument", message, ArgumentName="Authorization")
        return OldClaim(access_key=match[1], signature=match[2], token=token)
    expires, signature = query.get("Expires", ""), query.get("Signature", "")
    if not _SECONDS.fullmatch(expires) or not signature or not query["AWSAccessKeyId"]:
        message = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        raise S3Error("AccessDenied", message)
    return OldClaim(access_key=query["AWSAccessKeyId"], signature=signature, expires=expires, token=token)


def _token_of(request: Request, query: Query, *, by_header: bool) -> str:
    """The token of temporary credentials, where what is signed stands. Raises InvalidToken."""
    given = request.header(TOKEN)
    moved = [value for name, value in query.items() if name.lower() == TOKEN]
    wrong = moved if by_header else [] if given is None else [given]
    if wrong or len(moved) > 1 or given == "" or "" in moved:
        raise S3Error("InvalidToken")
    return given or "".join(moved)


def check_old(claim: OldClaim, request: Request, query: Query, now_s: int) -> None:
    """Refuse what is out of its time, and a presigned URL with more than it signs (W2).

    Raises AccessDenied, RequestTimeTooSkewed.
    """
    if claim.presigned:
        if now_s > int(claim.expires):
            raise S3Error("AccessDenied", "Request has expired", Expires=claim.expires)
        if int(claim.expires) > now_s + EXPIRES_SECONDS_MAX + SKEW_SECONDS_MAX:
            raise S3Error("AccessDenied", f"Expires must be less than {EXPIRES_SECONDS_MAX} seconds from now")
        known = PARAMETERS | SIGNED | PAGING | set(MOVED)
        unsigned = {name for name in query.keys() - known if not name.lower().startswith("x-amz-")}
        if unsigned:
            message = "There were parameters present in the request which were not signed"
            raise S3Error("AccessDenied", message, ParametersNotSigned=", ".join(sorted(unsigned)))
        return
    given = request.header("x-amz-date")
    time_s = parse_http_date(given if given is not None else request.header("date") or "")
    if time_s is None or time_s < 0:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    if abs(time_s - now_s) > SKEW_SECONDS_MAX:
        raise S3Error("RequestTimeTooSkewed", MaxAllowedSkewMilliseconds=str(SKEW_SECONDS_MAX * 1000))


def strings_to_sign(claim: OldClaim, request: Request, query: Query) -> list[str]:
    """Return what version 2 signs of a request; a presigner may have put headers into the URL instead.

    Of a bucket there are two forms, since clients differ: `/bucket` as it stands in the URL, and `/bucket/`.
    """
    moved = {name.lower(): value for name, value in query.items()} if claim.presigned else {}
    if claim.presigned:
        date = claim.expires
    else:
        date = "" if request.header("x-amz-date") is not None else request.header("date") or ""
    standard = [request.header(name) or moved.get(name, "") for name in MOVED]
    head = [request.method, *standard, date, *_amz_headers(request, moved)]
    return ["\n".join([*head, resource]) for resource in _resources(request)]


def _amz_headers(request: Request, moved: dict[str, str]) -> list[str]:
    values = {name: [value] for name, value in moved.items() if name.startswith("x-amz-")}
    for raw_name, raw_value in request.headers:
        if raw_name.startswith(b"x-amz-"):
            text = raw_value.decode("utf-8", "surrogateescape").strip()
            values.setdefault(raw_name.decode("latin-1"), []).append(text)
    return [f"{name}:{','.join(values[name])}" for name in sorted(values)]


def _resources(request: Request) -> list[str]:
    """The path as it was sent, with the bucket of the host in front, and the signed parameters, decoded."""
    path = request.raw_path.decode("latin-1")
    if request.bucket:
        path = f"/{request.bucket}{path}"
    parts = []
    for item in request.raw_query.decode("latin-1").split("&"):
        name, equals, value = item.partition("=")
        if unquote(name) in SIGNED:
            parts.append((unquote(name), equals + unquote(value)))
    query = "&".join(name + rest for name, rest in sorted(parts))
    paths = [path, f"{path}/"] if path.count("/") == 1 and len(path) > 1 else [path]
    return [f"{each}?{query}" if query else each for each in paths]


def old_signature(secret: str, text: str) -> str:
    """Return the signature of `text`: HMAC-SHA1, in base64."""
    return base64.b64encode(hmac.digest(secret.encode(), text.encode("utf-8", "surrogateescape"), "sha1")).decode()
