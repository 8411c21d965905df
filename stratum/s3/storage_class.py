"""Storage classes: which can be asked for, and what RestoreObject says of what is not archived.

Room: stratum/s3. May import: core, engine, s3.{call, errors, http, small_body, xml}.

A class that no tier stands for is refused, never accepted and then ignored: docs/decisions/0011-storage-classes.md.
"""

from collections.abc import Mapping

from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_whole
from stratum.s3.xml import child_text, parse

HEADER = "x-amz-storage-class"
STANDARD = "STANDARD"


def storage_class_of(headers: Mapping[str, str]) -> str:
    """Return the class that a write asks for; empty: STANDARD, as records have it. Raises InvalidStorageClass."""
    wanted = headers.get(HEADER, "")
    if wanted not in ("", STANDARD):
        raise S3Error("InvalidStorageClass", StorageClassRequested=wanted)
    return ""


def shown_class(stored: str) -> str:
    """The class of an object as listings and attributes show it; HEAD and GET leave STANDARD out."""
    return stored or STANDARD


async def restore_object(call: Call) -> Response:
    """POST /bucket/key?restore. Nothing is in a class that has to be restored before it can be read."""
    body = await read_whole(call.payload, call.engine.limits.xml_bytes)
    document = parse(body, "RestoreRequest")
    if (child_text(document, "Type") or "") == "SELECT":
        raise S3Error("NotImplemented", Parameter="Type")
    view = await call.engine.objects.head(call.bucket, call.key, call.version)
    message = "Restore is not allowed for the object's current storage class"
    raise S3Error("InvalidObjectState", message, StorageClass=shown_class(view.inode.storage_class))
