"""What policies may ask about a request: condition keys and their values.

Room: stratum/s3. May import: core.{policy_*, principals}, s3.{headers, http, object_lock, routes, tagging}.

Invariants
    K1  Every key is derived here, from a fixed table. A header or parameter never names a key: one that is called like
        a condition key means nothing.
    K2  What the client says about itself (Referer, User-Agent, x-amz-*) is only ever found under the keys that are
        documented to hold what the client says.
    K3  Who asks, from where and when is the server's own knowledge. X-Forwarded-For is not looked at here; where
        configured proxies are believed, `Request.peer` already is the client (hosts.py V3).
    K4  What a request does not have has no value, rather than an empty one.

Source: docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-policy-keys,
docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stratum.core.policy_conditions import Context
from stratum.core.policy_keys import EXISTING_TAG, REQUEST_TAG
from stratum.core.principals import Principal
from stratum.s3.headers import NANOSECONDS
from stratum.s3.http import Request
from stratum.s3.object_lock import HOLD, MODE, UNTIL, instant, parse_instant
from stratum.s3.routes import Op, parse_copy_source
from stratum.s3.tagging import HEADER, header_tags

BY_HEADER, BY_QUERY, BY_FORM = "REST-HEADER", "REST-QUERY-STRING", "POST"  # s3:authType
SIGNATURE_VERSION = "AWS4-HMAC-SHA256"
DAY_SECONDS = 86400

_HEADERS = {
    "aws:referer": "referer",
    "aws:useragent": "user-agent",
    "s3:if-match": "if-match",
    "s3:if-none-match": "if-none-match",
    "s3:object-lock-legal-hold": HOLD,
    "s3:object-lock-mode": MODE,
} | {
    f"s3:{name}": name
    for name in (
        "x-amz-acl",
        "x-amz-content-sha256",
        "x-amz-grant-full-control",
        "x-amz-grant-read",
        "x-amz-grant-read-acp",
        "x-amz-grant-write",
        "x-amz-grant-write-acp",
        "x-amz-metadata-directive",
        "x-amz-object-ownership",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
    )
}
_PARAMETERS = {
    "s3:prefix": "prefix",
    "s3:delimiter": "delimiter",
    "s3:max-keys": "max-keys",
    "s3:versionid": "versionId",
}
_CREATES = {
    Op.PUT_OBJECT: "true",
    Op.COPY_OBJECT: "true",
    Op.COMPLETE_UPLOAD: "true",
    Op.CREATE_UPLOAD: "false",
    Op.UPLOAD_PART: "false",
    Op.UPLOAD_PART_COPY: "false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the server knows of a request beyond headers and parameters. Times: seconds since the epoch.

    `more` goes over everything else and has lower-case keys: what a body said (s3:locationconstraint), or the prefix
    that a HEAD of a missing key amounts to.
    """

    principal: Principal
    request: Request
    now_s: int
    op: Op | None = None
    auth_type: str = ""  # BY_HEADER, BY_QUERY, BY_FORM; empty: anonymous
    signed_s: int | None = None  # when it was signed
    tls_version: str = ""  # 1.2, 1.3; empty: unknown, or no TLS
    existing_tags: Mapping[str, str] | None = None  # read only if a policy asks (core.policy.asks_for_existing_tags)
    request_tags: Mapping[str, str] | None = None  # of a body; None: those of x-amz-tagging
    more: Context = field(default_factory=dict)


def policy_context(facts: Facts, headers: Mapping[str, str], query: Mapping[str, str]) -> Context:
    """Return the condition keys of a request and their values, names in lower case.

    `headers`: lower-case names. Raises InvalidArgument or InvalidTag for an x-amz-tagging or x-amz-copy-source that is
    not well formed.
    """
    said = {key: headers[name] for key, name in _HEADERS.items() if name in headers}
    said |= {key: query[name] for key, name in _PARAMETERS.items() if name in query}
    said |= dict(_derived(facts, headers))
    found = {key: (value,) for key, value in said.items()}
    tags = header_tags(headers) if facts.request_tags is None and HEADER in headers else facts.request_tags or {}
    return (
        found
        | _tags(REQUEST_TAG, tags, "s3:requestobjecttagkeys")
        | _tags(EXISTING_TAG, facts.existing_tags or {})
        | facts.more
    )


def principal_arn(principal: Principal) -> str:
    """The ARN of a user: the root of its account, or a user or (whatever the session) a role of it by name."""
    if principal.role:
        return f"arn:aws:iam::{principal.account_id}:role/{principal.role}"
    name = "root" if principal.root else f"user/{principal.name or principal.user}"
    return f"arn:aws:iam::{principal.account_id}:{name}"


def _derived(facts: Facts, headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    request, now = facts.request, facts.now_s
    yield "aws:currenttime", datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    yield "aws:epochtime", str(now)
    yield "aws:securetransport", "true" if request.scheme == "https" else "false"
    if request.peer:
        yield "aws:sourceip", request.peer
    if facts.tls_version:
        yield "s3:tlsversion", facts.tls_version
    if facts.op in _CREATES:
        yield "s3:objectcreationoperation", _CREATES[facts.op]
    yield from _who(facts.principal)
    if facts.auth_type:
        yield "s3:authtype", facts.auth_type
        yield "s3:signatureversion", SIGNATURE_VERSION
    if facts.signed_s is not None:
        yield "s3:signatureage", str((now - facts.signed_s) * 1000)
    if "x-amz-copy-source" in headers:
        bucket, key, _ = parse_copy_source(headers["x-amz-copy-source"])
        yield "s3:x-amz-copy-source", f"{bucket}/{key.decode()}"
    until = parse_instant(headers.get(UNTIL, "").strip())  # as the handler reads it, so that no spelling slips through
    if until is not None:
        yield "s3:object-lock-retain-until-date", instant(until)
        yield (
            "s3:object-lock-remaining-retention-days",
            str(-((now * NANOSECONDS - until) // (DAY_SECONDS * NANOSECONDS))),
        )


def _who(principal: Principal) -> Iterator[tuple[str, str]]:
    if principal.anonymous:
        yield "aws:principaltype", "Anonymous"
        yield "aws:userid", "anonymous"
        return
    if principal.role:
        yield "aws:principaltype", "AssumedRole"
        yield "aws:principalarn", principal_arn(principal)
        yield "aws:principalaccount", principal.account_id
        yield "aws:userid", f"{principal.role}:{principal.session}"
        return
    yield "aws:principaltype", "Account" if principal.root else "User"
    yield "aws:principalarn", principal_arn(principal)
    yield "aws:principalaccount", principal.account_id
    yield "aws:userid", principal.user
    if principal.name:
        yield "aws:username", principal.name


def _tags(family: str, tags: Mapping[str, str], names: str = "") -> dict[str, tuple[str, ...]]:
    """Names of tags do not differ by case in conditions, so a key may have several values."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in tags.items():
        key = family + name.lower()
        found[key] = (*found.get(key, ()), value)
    if names and tags:
        found[names] = tuple(tags)
    return found
