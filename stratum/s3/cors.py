"""CORS: the rules of a bucket as XML, the preflight, and the headers that let a web page read an answer.

Room: stratum/s3. May import: core.{cors, errors}, engine, s3.*.

Invariants
    O1  Without rules there is no Access-Control-* header at all. An origin comes back only if a rule names it, and
        credentials are allowed only together with such an origin, never with `*`.
    O2  What a rule puts into a response header was printable ASCII when it was stored.
    O3  A preflight is not signed: it tells what rules allow, and nothing of what is in the bucket.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html, RESTOPTIONSobject.html
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from stratum.core.cors import KIND, METHODS, RULES_MAX, CorsRule, CorsRules, allowed_origin, matching_rule
from stratum.core.errors import StratumError
from stratum.engine.engine import Engine
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.headers import checked
from stratum.s3.http import Headers, Request, Response
from stratum.s3.routes import split_path
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

XML_BYTES = 64 * 1024  # docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html
ID_CHARACTERS = 255
NOT_ALLOWED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
    "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
)
VARY = (b"vary", b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method")

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_ORIGIN = re.compile(r"[\x21-\x7e]{1,1024}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


# --- the rules ------------------------------------------------------------------------------------------------


async def put_bucket_cors(call: Call) -> Response:
    """PUT /bucket?cors. Raises MalformedXML, InvalidRequest."""
    document = await read_xml(call.payload, XML_BYTES, "CORSConfiguration")
    await call.engine.configurations.put(call.bucket, KIND, parse_rules(document))
    return Response(200, [], b"")


async def get_bucket_cors(call: Call) -> Response:
    """GET /bucket?cors."""
    rules = await call.engine.configurations.get(call.bucket, KIND, CorsRules)
    if rules is None:
        raise S3Error("NoSuchCORSConfiguration", BucketName=call.bucket)
    return xml_answer(node("CORSConfiguration", *(_shown(rule) for rule in rules.rules)))


async def delete_bucket_cors(call: Call) -> Response:
    """DELETE /bucket?cors: 204 also if there were none."""
    await call.engine.configurations.delete(call.bucket, KIND)
    return Response(204, [], b"")


def parse_rules(document: Node) -> CorsRules:
    """Read a CORSConfiguration. Raises MalformedXML, InvalidRequest."""
    found = children(document, "CORSRule")
    if not found or len(found) != len(document.children):
        raise S3Error("MalformedXML")
    if len(found) > RULES_MAX:
        raise S3Error(
            "InvalidRequest", f"The number of CORS rules should not exceed allowed limit of {RULES_MAX} rules."
        )
    return CorsRules(tuple(_rule(each) for each in found))


def _rule(rule: Node) -> CorsRule:
    known = {"ID", "AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader", "MaxAgeSeconds"}
    origins, methods = _values(rule, "AllowedOrigin"), _values(rule, "AllowedMethod")
    headers, expose = _values(rule, "AllowedHeader"), _values(rule, "ExposeHeader")
    max_age, name = child_text(rule, "MaxAgeSeconds"), child_text(rule, "ID") or ""
    if not origins or not methods or any(child.name not in known for child in rule.children):
        raise S3Error("MalformedXML")
    for method in methods:
        if method not in METHODS:
            message = f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            raise S3Error("InvalidRequest", message)
    _at_most_one_star("AllowedOrigin", origins)
    _at_most_one_star("AllowedHeader", headers)
    for value in expose:
        if "*" in value:
            message = (
                f'ExposeHeader "{value}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            )
            raise S3Error("InvalidRequest", message)
    if any(not _NAME.fullmatch(value) for value in (*headers, *expose)):
        raise S3Error("InvalidRequest", "A header of the CORS config is not a valid header name.")
    if len(name) > ID_CHARACTERS or (max_age is not None and not _SECONDS.fullmatch(max_age.strip())):
        raise S3Error("MalformedXML")
    age = None if max_age is None else int(max_age)
    return CorsRule(origins=origins, methods=methods, headers=headers, expose=expose, max_age=age, id=name)


def _values(rule: Node, name: str) -> tuple[str, ...]:
    found = tuple(each.text.strip() for each in children(rule, name))
    if not all(found):
        raise S3Error("MalformedXML")
    return tuple(checked(name, value) for value in found)  # O2


def _at_most_one_star(name: str, values: Sequence[str]) -> None:
    for value in values:
        if value.count("*") > 1:
            raise S3Error("InvalidRequest", f'{name} "{value}" can not have more than one wildcard.')


def _shown(rule: CorsRule) -> Node:
    parts = [node("ID", rule.id)] if rule.id else []
    for name, values in (
        ("AllowedMethod", rule.methods),
        ("AllowedOrigin", rule.origins),
        ("AllowedHeader", rule.headers),
        ("ExposeHeader", rule.expose),
    ):
        parts += [node(name, value) for value in values]
    if rule.max_age is not None:
        parts.append(node("MaxAgeSeconds", str(rule.max_age)))
    return node("CORSRule", *parts)


# --- requests of browsers -------------------------------------------------------------------------------------


def preflight(engine: Engine, request: Request) -> Response:
    """Answer OPTIONS: may a page of that origin send such a request? Raises BadRequest, AccessForbidden."""
    origin, method = _origin(request), request.header("access-control-request-method")
    if not origin:
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    if method not in METHODS:
        raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
    rules = _rules(engine, request)
    key = split_path(request.raw_path, request.bucket)[1]
    told = {"Method": method, "ResourceType": "OBJECT" if key else "BUCKET"}
    if rules is None:
        raise S3Error("AccessForbidden", **told)
    asked = request.header("access-control-request-headers") or ""
    names = [name.strip().lower() for name in asked.split(",") if name.strip()]
    rule = matching_rule(rules, origin, method, names)
    if rule is None or not all(_NAME.fullmatch(name) for name in names):
        raise S3Error("AccessForbidden", NOT_ALLOWED, **told)
    headers = _granted(rule, origin)
    if names:
        headers.append((b"access-control-allow-headers", ", ".join(names).encode()))
    return Response(200, headers, b"")


def with_cors(engine: Engine, request: Request, response: Response) -> Response:
    """The answer, an error too, with what a browser must see before it lets the page have it."""
    origin = _origin(request)
    if request.method == "OPTIONS" or not (origin or request.method in ("GET", "HEAD")):
        return response
    rules = _rules(engine, request)
    if rules is None:
        return response
    headers = [*response.headers, VARY]  # also without an origin: a cache must not hand this answer to a page
    method = request.header("access-control-request-method") or request.method
    rule = matching_rule(rules, origin, method) if origin else None
    if origin and rule is not None:
        headers += [pair for pair in _granted(rule, origin) if pair != VARY]
    return replace(response, headers=headers)


def _origin(request: Request) -> str:
    """The origin as it may come back in a header; empty if there is none, or none that a browser could have sent."""
    origin = request.header("origin") or ""
    return origin if _ORIGIN.fullmatch(origin) else ""


def _rules(engine: Engine, request: Request) -> CorsRules | None:
    """None also where they cannot be read: no page gets what no rule is known to give it."""
    try:
        bucket, _ = split_path(request.raw_path, request.bucket)
        return engine.configurations.read(bucket, KIND, CorsRules) if bucket else None
    except StratumError:
        return None


def _granted(rule: CorsRule, origin: str) -> Headers:
    allowed = allowed_origin(rule, origin)
    headers = [
        (b"access-control-allow-origin", allowed.encode("latin-1")),
        (b"access-control-allow-methods", ", ".join(rule.methods).encode()),
    ]
    if rule.expose:
        headers.append((b"access-control-expose-headers", ", ".join(rule.expose).encode()))
    if rule.max_age is not None:
        headers.append((b"access-control-max-age", b"%d" % rule.max_age))
    if allowed != "*":  # O1
        headers.append((b"access-control-allow-credentials", b"true"))
    return [*headers, VARY]
