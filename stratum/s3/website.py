"""The configuration of a bucket as a web site.

Room: stratum/s3. May import: core.website, s3.{answers, call, errors, headers, http, small_body, xml}.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketWebsite.html
"""

import re

from stratum.core.website import KIND, RULES_MAX, RoutingRule, Website
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.headers import checked
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

XML_BYTES = 128 * 1024  # docs.aws.amazon.com/AmazonS3/latest/userguide/EnableWebsiteHosting.html

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?", re.ASCII)


async def put_bucket_website(call: Call) -> Response:
    """PUT /bucket?website. Raises MalformedXML, InvalidArgument, InvalidRequest."""
    site = parse_website(await read_xml(call.payload, XML_BYTES, "WebsiteConfiguration"))
    await call.engine.configurations.put(call.bucket, KIND, site)
    return Response(200, [], b"")


async def get_bucket_website(call: Call) -> Response:
    """GET /bucket?website."""
    site = await call.engine.configurations.get(call.bucket, KIND, Website)
    if site is None:
        raise S3Error("NoSuchWebsiteConfiguration", BucketName=call.bucket)
    return xml_answer(_shown(site))


async def delete_bucket_website(call: Call) -> Response:
    """DELETE /bucket?website: 204 also if there was none."""
    await call.engine.configurations.delete(call.bucket, KIND)
    return Response(204, [], b"")


# --- reading ------------------------------------------------------------------------------------------------------


def parse_website(document: Node) -> Website:
    """Read a WebsiteConfiguration. Raises MalformedXML, InvalidArgument, InvalidRequest."""
    everything = _only(document, "RedirectAllRequestsTo")
    if everything is not None:
        if len(document.children) > 1:
            message = "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."
            raise S3Error("InvalidRequest", message)
        return Website(all_host=_host(everything), all_protocol=_protocol(everything))
    index, error, rules = (_only(document, name) for name in ("IndexDocument", "ErrorDocument", "RoutingRules"))
    if index is None:
        message = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
        raise S3Error("InvalidArgument", message, ArgumentName="IndexDocument", ArgumentValue="null")
    suffix = child_text(index, "Suffix") or ""
    if not suffix or "/" in suffix:
        raise S3Error("InvalidArgument", "The IndexDocument Suffix is not well formed", ArgumentName="IndexDocument")
    key = "" if error is None else child_text(error, "Key") or ""
    if error is not None and not key:
        raise S3Error("InvalidArgument", "The ErrorDocument Key is not well formed", ArgumentName="ErrorDocument")
    found = [] if rules is None else children(rules, "RoutingRule")
    if rules is not None and (not found or len(found) != len(rules.children)):
        raise S3Error("MalformedXML")
    if len(found) > RULES_MAX:
        message = f"{len(found)} routing rules provided, the number of routing rules in a website configuration is "
        raise S3Error("InvalidRequest", f"{message}limited to {RULES_MAX}.")
    return Website(index=suffix, error=key, rules=tuple(_rule(each) for each in found))


def _rule(rule: Node) -> RoutingRule:
    condition, redirect = _only(rule, "Condition"), _only(rule, "Redirect")
    if redirect is None or not redirect.children:
        raise S3Error("MalformedXML")
    if condition is not None and not condition.children:
        message = "Condition cannot be empty. To redirect all requests without a condition, the condition element "
        raise S3Error("InvalidRequest", f"{message}shouldn't be present.")
    key, key_prefix = child_text(redirect, "ReplaceKeyWith"), child_text(redirect, "ReplaceKeyPrefixWith")
    if key is not None and key_prefix is not None:
        raise S3Error("InvalidRequest", "You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    error = None if condition is None else child_text(condition, "HttpErrorCodeReturnedEquals")
    status = child_text(redirect, "HttpRedirectCode")
    return RoutingRule(
        prefix="" if condition is None else child_text(condition, "KeyPrefixEquals") or "",
        error=0 if error is None else _error(error),
        protocol=_protocol(redirect),
        host=_host(redirect) if children(redirect, "HostName") else "",
        key=key,
        key_prefix=key_prefix,
        status=301 if status is None else _redirect_status(status),
    )


def _only(parent: Node, name: str) -> Node | None:
    found = children(parent, name)
    if len(found) > 1:
        raise S3Error("MalformedXML")
    return found[0] if found else None


def _host(parent: Node) -> str:
    host = checked("HostName", (child_text(parent, "HostName") or "").strip())
    if not _HOST.fullmatch(host):
        raise S3Error("InvalidArgument", "The HostName is not a host name.", ArgumentName="HostName")
    return host


def _protocol(parent: Node) -> str:
    protocol = (child_text(parent, "Protocol") or "").strip()
    if protocol not in ("", "http", "https"):
        message = "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected "
        raise S3Error("InvalidRequest", f"{message}automatically.")
    return protocol


def _error(text: str) -> int:
    if not re.fullmatch(r"[45][0-9]{2}", text.strip(), re.ASCII):
        message = f"The provided HTTP error code ({text}) is not valid. Valid codes are 4XX or 5XX."
        raise S3Error("InvalidRequest", message)
    return int(text)


def _redirect_status(text: str) -> int:
    if not re.fullmatch(r"3[0-9]{2}", text.strip(), re.ASCII) or text.strip() == "300":
        message = f"The provided HTTP redirect code ({text}) is not valid. Valid codes are 3XX except 300."
        raise S3Error("InvalidRequest", message)
    return int(text)


# --- writing ------------------------------------------------------------------------------------------------------


def _shown(site: Website) -> Node:
    if site.all_host:
        everything = [node("HostName", site.all_host), *_unless("Protocol", site.all_protocol)]
        return node("WebsiteConfiguration", node("RedirectAllRequestsTo", *everything))
    parts = [node("IndexDocument", node("Suffix", site.index))]
    if site.error:
        parts.append(node("ErrorDocument", node("Key", site.error)))
    if site.rules:
        parts.append(node("RoutingRules", *(_shown_rule(rule) for rule in site.rules)))
    return node("WebsiteConfiguration", *parts)


def _shown_rule(rule: RoutingRule) -> Node:
    conditions = [
        *_unless("HttpErrorCodeReturnedEquals", str(rule.error) if rule.error else ""),
        *_unless("KeyPrefixEquals", rule.prefix),
    ]
    redirect = [*_unless("Protocol", rule.protocol), *_unless("HostName", rule.host)]
    if rule.key is not None:
        redirect.append(node("ReplaceKeyWith", rule.key))
    if rule.key_prefix is not None:
        redirect.append(node("ReplaceKeyPrefixWith", rule.key_prefix))
    redirect.append(node("HttpRedirectCode", str(rule.status)))
    condition = [node("Condition", *conditions)] if conditions else []
    return node("RoutingRule", *condition, node("Redirect", *redirect))


def _unless(name: str, text: str) -> list[Node]:
    """The element, unless there is nothing in it."""
    return [node(name, text)] if text else []
