"""Every error of the mount: which errno an error of the engine becomes (law 10).

Room: stratumfs. May import: core.errors.

ENOENT is a statement of fact: what could not be read is EIO, what cannot be done now is EAGAIN or its own errno.
"""

import errno
from collections.abc import Mapping

from stratum.core import errors as core


class CannotMount(OSError):
    """The kernel refused; the message says what to look at."""


class Refused(Exception):
    """A request is answered with `errno`."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno = number


ERRNOS: Mapping[type[core.StratumError], int] = {
    core.NotFound: errno.ENOENT,
    core.NoSuchAttribute: errno.ENODATA,
    core.NoSuchInode: errno.ESTALE,
    core.Conflict: errno.EEXIST,
    core.BucketNotEmpty: errno.ENOTEMPTY,
    core.DirectoryNotEmpty: errno.ENOTEMPTY,
    core.NotADirectory: errno.ENOTDIR,
    core.IsADirectory: errno.EISDIR,
    core.CrossesBuckets: errno.EXDEV,
    core.TooManyLinks: errno.EMLINK,
    core.PreconditionFailed: errno.ESTALE,
    core.Invalid: errno.EINVAL,
    core.KeyTooLong: errno.ENAMETOOLONG,
    core.NameTooLong: errno.ENAMETOOLONG,
    core.TooLarge: errno.EFBIG,
    core.MetadataTooLarge: errno.E2BIG,
    core.NotPermitted: errno.EPERM,
    core.CustomerKeyNeeded: errno.EACCES,
    core.Unavailable: errno.EAGAIN,
    core.TooFewShards: errno.EIO,
    core.TooFewDisks: errno.EROFS,
    core.StoreFull: errno.ENOSPC,
    core.QuotaExceeded: errno.EDQUOT,
    core.NoMasterKey: errno.ENOKEY,
    core.NotSealing: errno.ENOKEY,
    core.ReadOnly: errno.EROFS,
    core.Busy: errno.EBUSY,
    core.DiskFailed: errno.EIO,
    core.Corrupt: errno.EIO,
    core.StoreLocked: errno.EBUSY,
}


def errno_of(error: core.StratumError) -> int:
    """The errno of the nearest ancestor that the table names; EIO for what it does not know."""
    return next((ERRNOS[kind] for kind in type(error).__mro__ if kind in ERRNOS), errno.EIO)
