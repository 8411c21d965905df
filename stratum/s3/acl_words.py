"""How ACLs are written: canned names, grants in headers, the AccessControlPolicy document.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, xml}.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from stratum.core.acl import (
    ALL_USERS,
    AUTHENTICATED_USERS,
    FULL_CONTROL,
    GRANTS_MAX,
    LOG_DELIVERY,
    PERMISSIONS,
    READ,
    READ_ACP,
    WRITE,
    WRITE_ACP,
    canned_acl,
)
from stratum.core.principals import OPERATOR_ID
from stratum.core.records import Acl, Grant
from stratum.s3.answers import person_nodes, xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.xml import MalformedXml, Node, child_text, children, node, parse

Canned = Mapping[str, tuple[tuple[str, str], ...]]
Meant = Callable[[str, str], Acl | None]  # (canonical id of the owner, of the bucket's owner) -> the ACL

CANNED, GRANT = "x-amz-acl", "x-amz-grant-"
GRANT_HEADERS = {  # in the order in which grants are shown
    f"{GRANT}read": READ,
    f"{GRANT}write": WRITE,
    f"{GRANT}read-acp": READ_ACP,
    f"{GRANT}write-acp": WRITE_ACP,
    f"{GRANT}full-control": FULL_CONTROL,
}
GROUPS = {
    "http://acs.amazonaws.com/groups/global/AllUsers": ALL_USERS,
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers": AUTHENTICATED_USERS,
    "http://acs.amazonaws.com/groups/s3/LogDelivery": LOG_DELIVERY,
}
URIS = {group: uri for uri, group in GROUPS.items()}
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'

_GRANTEE = re.compile(r'\s*(id|uri|emailaddress)\s*=\s*(?:"([^"]*)"|([^",]*?))\s*(?:,|$)', re.IGNORECASE)


def says_acl(headers: Mapping[str, str]) -> bool:
    """Do the headers of a request speak of an ACL?"""
    return any(name == CANNED or name.startswith(GRANT) for name in headers)


def header_acl(call: Call, canned: Canned) -> Meant | None:
    """The ACL that headers ask for, or None.

    Raises InvalidArgument, InvalidRequest, UnresolvableGrantByEmailAddress, NotImplemented.
    """
    name, grants = call.headers.get(CANNED), header_grants(call)
    if name is not None and grants:
        raise S3Error("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    if name is not None:
        if name not in canned:
            raise S3Error("InvalidArgument", ArgumentName=CANNED, ArgumentValue=name)
        extra = canned[name]
        return lambda owner, bucket_owner: canned_acl(extra, owner, bucket_owner)
    return (lambda owner, bucket_owner: Acl(grants)) if grants else None


def header_grants(call: Call) -> tuple[Grant, ...]:
    """The grants of x-amz-grant-* headers. Raises as `header_acl`."""
    for name in call.headers:
        if name.startswith(GRANT) and name not in GRANT_HEADERS:
            raise S3Error("NotImplemented", Header=name)
    found: list[Grant] = []
    for name, permission in GRANT_HEADERS.items():
        for kind, text in _named(name, call.headers.get(name, "")):
            found.append(Grant(_grantee(call, kind, text), permission))
    if len(found) > GRANTS_MAX:
        raise S3Error("InvalidArgument", f"An ACL has at most {GRANTS_MAX} grants.")
    return tuple(found)


def _named(name: str, text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _GRANTEE.match(text, at)
        if match is None or match.end() == at:
            raise S3Error("InvalidArgument", "Argument format not recognized", ArgumentName=name, ArgumentValue=text)
        yield match[1].lower(), match[2] if match[2] is not None else match[3]
        at = match.end()


def _grantee(call: Call, kind: str, text: str) -> str:
    """A grantee as it is stored: a user there is, or a group."""
    users = call.engine.users
    if kind == "uri":
        if text not in GROUPS:
            raise S3Error("InvalidArgument", "Invalid group uri", ArgumentName="uri", ArgumentValue=text)
        return GROUPS[text]
    if kind == "id":
        if text != OPERATOR_ID and users.find(text) is None:
            raise S3Error("InvalidArgument", "Invalid id", ArgumentName="CanonicalUser/ID", ArgumentValue=text)
        return f"id:{text}"
    found = users.with_email(text) if text else []
    if len(found) != 1:
        raise S3Error("AmbiguousGrantByEmailAddress" if found else "UnresolvableGrantByEmailAddress")
    return f"id:{found[0]}"


# --- the document -----------------------------------------------------------------------------------------------


def document_acl(call: Call, body: bytes) -> Meant:
    """The ACL of an AccessControlPolicy document; it cannot name another owner.

    Raises MalformedACLError, InvalidArgument, UnresolvableGrantByEmailAddress.
    """
    try:
        document = parse(body, "AccessControlPolicy")
    except MalformedXml as error:
        raise S3Error("MalformedACLError") from error
    owners, lists = children(document, "Owner"), children(document, "AccessControlList")
    if len(document.children) != len(owners) + len(lists) or len(lists) != 1 or len(owners) != 1:
        raise S3Error("MalformedACLError")
    grants = lists[0].children
    if len(grants) > GRANTS_MAX or any(grant.name != "Grant" for grant in grants):
        raise S3Error("MalformedACLError")
    acl, named = Acl(tuple(_grant(call, grant) for grant in grants)), child_text(owners[0], "ID")

    def meant(owner: str, bucket_owner: str) -> Acl | None:
        if named != owner:
            raise S3Error("AccessDenied", "The owner of a bucket or object cannot be changed by an ACL.")
        return acl

    return meant


def _grant(call: Call, grant: Node) -> Grant:
    grantees, permission = children(grant, "Grantee"), child_text(grant, "Permission")
    if len(grant.children) != 2 or len(grantees) != 1 or permission not in PERMISSIONS:
        raise S3Error("MalformedACLError")
    kinds = {"ID": "id", "URI": "uri", "EmailAddress": "emailaddress"}
    named = [(kinds[each.name], each.text.strip()) for each in grantees[0].children if each.name in kinds]
    if len(named) != 1 or any(each.name not in (*kinds, "DisplayName") for each in grantees[0].children):
        raise S3Error("MalformedACLError")
    return Grant(_grantee(call, *named[0]), permission)


def shown_acl(call: Call, owner: str, grants: Sequence[Grant]) -> Response:
    """The document that says who owns it and who may what."""
    shown = [node("Grant", _shown_grantee(call, each.grantee), node("Permission", each.permission)) for each in grants]
    who = node("Owner", *person_nodes(owner, call.engine.users.name_of(owner)))
    return xml_answer(node("AccessControlPolicy", who, node("AccessControlList", *shown)))


def _shown_grantee(call: Call, grantee: str) -> Node:
    if grantee in URIS:
        made = node("Grantee", node("URI", URIS[grantee]))
        kind = "Group"
    else:
        user = grantee.removeprefix("id:")
        made = node("Grantee", *person_nodes(user, call.engine.users.name_of(user)))
        kind = "CanonicalUser"
    made.attributes = f' {XSI} xsi:type="{kind}"'
    return made
