"""RenameObject.

Room: stratum/s3. May import: core, engine, s3.{call, errors, headers, http, routes}.

AWS has it for directory buckets only, here every bucket has it.
Source: docs.aws.amazon.com/AmazonS3/latest/API/API_RenameObject.html
"""

from urllib.parse import unquote_to_bytes

from stratum.core.objects import RenameSpec
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.headers import rename_source_condition, write_condition
from stratum.s3.http import Response
from stratum.s3.routes import split_path

SOURCE = "x-amz-rename-source"


async def rename_object(call: Call) -> Response:
    """PUT /bucket/key?renameObject: what was under the key of x-amz-rename-source is now under this one."""
    source = rename_source(call.headers.get(SOURCE, ""), call.bucket)
    if source == call.key:
        raise S3Error("InvalidRequest", "The source and the destination of a rename are the same key.")
    for key in (source, call.key):
        if key.endswith(b"/"):
            raise S3Error("InvalidRequest", "A key that ends with / cannot be renamed, nor be the name of an object.")
    spec = RenameSpec(
        source=source,
        source_condition=rename_source_condition(call.headers),
        condition=write_condition(call.headers),
        principal=call.principal.user,
    )
    view = await call.engine.objects.rename(call.bucket, call.key, spec)
    return Response(200, [(b"x-amz-version-id", view.version.encode())] if view.version else [], b"")


def rename_source(value: str, bucket: str) -> bytes:
    """Return the key that x-amz-rename-source names: a URL-encoded key, or `/bucket/key` with this bucket.

    Raises InvalidArgument, InvalidURI.
    """
    raw = value.encode("latin-1", "replace")
    if raw.startswith(b"/"):
        named, key = split_path(raw)
        if named != bucket:
            raise S3Error("InvalidArgument", "A rename stays inside its bucket.", ArgumentName=SOURCE)
    else:
        key = unquote_to_bytes(raw)
    try:
        key.decode()
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI", "The key is not valid UTF-8.") from error
    if not key:
        raise S3Error("InvalidArgument", "The source of the rename is not named.", ArgumentName=SOURCE)
    return key
