"""If-Match and its relatives: does a condition hold for what is there now?

Room: stratum/core. May import: core.errors, core.objects, core.records.

The order is that of RFC 9110, 13.2.2: If-Match, or without it If-Unmodified-Since; then If-None-Match, or without it
If-Modified-Since. So an ETag always outranks a date.
"""

from collections.abc import Iterable
from typing import Literal

from stratum.core.errors import NoSuchKey, PreconditionFailed
from stratum.core.objects import Condition
from stratum.core.records import Inode

SECOND = 10**9  # ns
MILLISECOND = 10**6


def check_read(condition: Condition, current: Inode, *, copying: bool = False) -> Literal["ok", "not_modified"]:
    """May a GET or HEAD answer with the object? `not_modified`: what the client has is still good.

    `copying`: the object is the source of a copy, which has no answer but yes or no: what would be
    `not_modified` raises too. Raises PreconditionFailed.
    """
    source = "x-amz-copy-source-" if copying else ""
    _check_still_the_same(condition, current, source)
    if condition.if_none_match:
        known = _names(condition.if_none_match, current.etag)
    else:
        known = condition.if_modified_since is not None and _modified(current) <= condition.if_modified_since
    if known and copying:
        raise PreconditionFailed(source + ("If-None-Match" if condition.if_none_match else "If-Modified-Since"))
    return "not_modified" if known else "ok"


def check_write(condition: Condition, current: Inode | None) -> None:
    """May a write replace or delete what is there (None: nothing)? Evaluate it in the change that writes.

    Raises PreconditionFailed, and NoSuchKey when If-Match meets nothing. If-Modified-Since is for reads only.
    """
    if current is None:
        if condition.if_match:
            raise NoSuchKey("If-Match on a key that does not exist")
        return
    _check_still_the_same(condition, current)
    if _names(condition.if_none_match, current.etag):
        raise PreconditionFailed("If-None-Match")


def check_delete(condition: Condition, current: Inode | None, *, marker: bool = False) -> None:
    """May a delete take away what is there? Evaluate it in the change that deletes.

    None: nothing is there, or (`marker`) a delete marker, which has no ETag and no size. Where nothing is, there is
    nothing to refuse: a delete that is asked for once more finds it done (RFC 9110, 13.1.1). Raises PreconditionFailed.
    """
    if current is None:
        named = bool(condition.if_match) and "*" not in condition.if_match
        if marker and (named or condition.size is not None or condition.modified is not None):
            raise PreconditionFailed("If-Match")
        return
    check_write(condition, current)
    if condition.size not in (None, current.size):
        raise PreconditionFailed("x-amz-if-match-size")
    if condition.modified not in (None, _modified(current)):
        raise PreconditionFailed("x-amz-if-match-last-modified-time")


def _check_still_the_same(condition: Condition, current: Inode, source: str = "") -> None:
    if condition.if_match:
        if not _names(condition.if_match, current.etag):
            raise PreconditionFailed(f"{source}If-Match")
    elif condition.if_unmodified_since is not None and _modified(current) > condition.if_unmodified_since:
        raise PreconditionFailed(f"{source}If-Unmodified-Since")


def is_still(current: Inode, etag: str, modified: int | None) -> bool:
    """Is it what If-Range names: an ETag without its quotes, or a Last-Modified (s), which must be exactly it?

    Source: RFC 9110, 13.1.5
    """
    return modified == _modified(current) if modified is not None else etag == current.etag


def _names(etags: Iterable[str], etag: str) -> bool:
    return any(each in ("*", etag) for each in etags)


def last_modified(mtime: int) -> int:
    """Return what S3 shows of a modification time, both in nanoseconds: rounded up to the millisecond.

    XML has milliseconds, a file nanoseconds. Cut off, every file would be newer than its object, and `aws s3 sync`
    would copy it again; rounded up, it is not, in either direction. A header shows the second that this is in.
    """
    return -(-mtime // MILLISECOND) * MILLISECOND


def _modified(inode: Inode) -> int:
    """Last-Modified as HTTP shows it, in whole seconds."""
    return last_modified(inode.mtime) // SECOND
