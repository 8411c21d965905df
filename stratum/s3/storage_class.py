"""Storage classes: which can be asked for, and what RestoreObject says of what is not archived.

Room: stratum/s3. May import: core, engine, s3.{call, errors, http, small_body, xml}.

A class that no tier stands for is refused, never accepted and then ignored; one that is accepted shows once the bytes
are where it says: docs/decisions/0011-storage-classes.md.
"""

from dataclasses import replace

import msgspec

from stratum.core.objects import ObjectView
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_whole
from stratum.s3.xml import child_text, parse

HEADER = "x-amz-storage-class"
STANDARD = "STANDARD"
ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")  # clients read nothing of these that is not said to be restored
RESTORED = b'ongoing-request="false", expiry-date="Fri, 31 Dec 9999 00:00:00 GMT"'


def storage_class_of(call: Call) -> str:
    """Return the class that a write asks for; empty: STANDARD, as records have it. Raises InvalidStorageClass."""
    wanted = call.headers.get(HEADER, "")
    if call.engine.tiers.stands_for(wanted) is None:
        raise S3Error("InvalidStorageClass", StorageClassRequested=wanted)
    return "" if wanted == STANDARD else wanted


def truthful(call: Call, view: ObjectView) -> ObjectView:
    """The object with the class that may be shown of it."""
    shown = call.engine.tiers.shown_class(view.inode) if view.inode.storage_class else ""
    if shown == view.inode.storage_class:
        return view
    return replace(view, inode=msgspec.structs.replace(view.inode, storage_class=shown))


def tier_headers(call: Call, view: ObjectView) -> list[tuple[bytes, bytes]]:
    """Where the bytes are, and the class that this makes true. What is archived elsewhere can be read here at once."""
    where = call.engine.tiers.tier_of(view)
    headers = [(b"x-stratum-tier", where.summary.encode())]
    if reason := call.engine.tiering.reason_of(view):
        headers.append((b"x-stratum-tier-reason", reason.encode()))
    shown = call.engine.tiers.shown_class(view.inode, where) if view.inode.storage_class else ""
    if shown:
        headers.append((HEADER.encode(), shown.encode()))
    if shown in ARCHIVES:
        headers.append((b"x-amz-restore", RESTORED))
    return headers


def shown_class(stored: str) -> str:
    """The class of an object as listings and attributes show it; HEAD and GET leave STANDARD out."""
    return stored or STANDARD


async def restore_object(call: Call) -> Response:
    """POST /bucket/key?restore. Nothing has to be restored to be read: what is in an archive counts as restored."""
    body = await read_whole(call.payload, call.engine.limits.xml_bytes)
    document = parse(body, "RestoreRequest")
    if (child_text(document, "Type") or "") == "SELECT":
        raise S3Error("NotImplemented", Parameter="Type")
    view = await call.engine.objects.head(call.bucket, call.key, call.version)
    if truthful(call, view).inode.storage_class in ARCHIVES:
        return Response(200, [], b"")
    message = "Restore is not allowed for the object's current storage class"
    raise S3Error("InvalidObjectState", message, StorageClass=shown_class(truthful(call, view).inode.storage_class))
