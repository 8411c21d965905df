"""Every error of the engine has an errno, and those that programs act upon have the right one.

Room: tests. May import: stratum.core, stratumfs.
"""

import errno

import pytest

from stratum.core import errors as core
from stratumfs.errnos import ERRNOS, errno_of


def subclasses(kind):
    """Below `kind`, but for the errors of a sibling door: they never come to this one."""
    return {each for each in _all(kind) if not each.__module__.startswith("stratum.s3")}


def _all(kind):
    return {kind}.union(*(_all(below) for below in kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(subclasses(core.StratumError) - {core.StratumError}, key=str))
def test_no_error_lacks_an_answer(kind):
    assert any(ancestor in ERRNOS for ancestor in kind.__mro__)
    assert errno_of(kind.__new__(kind)) in errno.errorcode


def test_only_what_is_known_to_be_absent_is_enoent():
    absent = {kind for kind in subclasses(core.StratumError) if errno_of(kind.__new__(kind)) == errno.ENOENT}
    assert absent <= subclasses(core.NotFound)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (core.EntryExists, errno.EEXIST),
        (core.DirectoryNotEmpty, errno.ENOTEMPTY),
        (core.StoreFull, errno.ENOSPC),
        (core.InvalidBucketName, errno.EINVAL),
        (core.NameTooLong, errno.ENAMETOOLONG),
        (core.NotPermitted, errno.EPERM),
        (core.NoSuchAttribute, errno.ENODATA),
        (core.TooLarge, errno.EFBIG),
        (core.TooManyLinks, errno.EMLINK),
    ],
)
def test_programs_get_the_errno_they_act_upon(kind, number):
    assert errno_of(kind("x")) == number
