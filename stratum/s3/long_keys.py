"""Keys of more than 1,024 bytes: S3 makes none, but the mount can, for a path may be longer.

Room: stratum/s3. May import: core, s3.{actions, authorisation, call, errors, routes}.

Invariants
    K1  Who names such a key is told that it is too long, whatever he asks for, whoever he is, and whether or not there
        is such a file; but who may do so reads, copies and deletes a file that has such a path.

Source: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (KeyTooLongError)
"""

from dataclasses import replace

from stratum.core.errors import KeyTooLong, MarkerFound, NotFound
from stratum.core.names import KEY_BYTES
from stratum.s3.actions import source_of
from stratum.s3.authorisation import authorise, check_deletion
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.routes import Op

OF_FILES = frozenset(
    (
        Op.GET_OBJECT,
        Op.HEAD_OBJECT,
        Op.DELETE_OBJECT,
        Op.GET_OBJECT_ATTRIBUTES,
        Op.GET_OBJECT_TAGGING,
        Op.GET_OBJECT_ACL,
    )
)

DELETING = (Op.DELETE_OBJECT, Op.DELETE_OBJECTS)


async def refuse_long_keys(call: Call) -> None:
    """Raise KeyTooLong if the request names a key that is too long (K1)."""
    if len(call.key) > KEY_BYTES:
        if call.route.op not in OF_FILES:
            raise KeyTooLong(f"{len(call.key)} bytes")
        await _must_be_there(call, call.bucket, call.key, call.version)
    source = source_of(call)
    if source is not None and len(source[1]) > KEY_BYTES:
        await _must_be_there(call, *source)


async def _must_be_there(call: Call, bucket: str, key: bytes, version: str | None) -> None:
    try:
        await authorise(replace(call, rejudge=None))
        await _look(call, bucket, key, version)
    except (NotFound, S3Error) as error:
        raise KeyTooLong(f"{len(key)} bytes") from error


async def check_deletion_of(call: Call, key: bytes, version: str | None) -> None:
    """May this key of a DeleteObjects be deleted? Raises AccessDenied; KeyTooLong as a DELETE would (K1)."""
    if len(key) <= KEY_BYTES:
        return await check_deletion(call, key, version)
    try:
        await check_deletion(call, key, version)
        await _look(call, call.bucket, key, version)
    except (NotFound, S3Error) as error:
        raise KeyTooLong(f"{len(key)} bytes") from error


async def _look(call: Call, bucket: str, key: bytes, version: str | None) -> None:
    """Raise NotFound if there is nothing; a delete marker is something, and can be taken away."""
    try:
        await call.engine.objects.head(bucket, key, version)
    except MarkerFound:
        if call.route.op not in DELETING:
            raise
