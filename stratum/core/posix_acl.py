"""POSIX access control lists, as Linux keeps them in extended attributes.

Room: stratum/core. May import: core.errors.

The kernel judges by them; whoever stores them keeps mode and list together: the mode's group bits are the mask of a
list that has one. Sources: acl(5), the kernel's include/uapi/linux/posix_acl_xattr.h (version 2, little endian).
"""

import struct
from dataclasses import dataclass, replace

from stratum.core.errors import InvalidArgument

ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
NAMES = frozenset((ACCESS, DEFAULT))

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
VERSION = 2
_HEAD, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")


@dataclass(frozen=True, slots=True)
class AclEntry:
    """What one class of users may do: `permissions` as in a mode (4 read, 2 write, 1 execute)."""

    tag: int
    permissions: int
    who: int  # a user's or group's number, where the tag wants one


@dataclass(frozen=True, slots=True)
class PosixAcl:
    """A whole list, in the order of its tags."""

    entries: tuple[AclEntry, ...]

    @property
    def is_plain(self) -> bool:
        """Does it say no more than a mode?"""
        return len(self.entries) == 3

    @property
    def mode(self) -> int:
        """The nine bits of the mode that it stands for."""
        return sum(entry.permissions << shift for shift, entry in self._classes().items())

    def limited_to(self, mode: int) -> "PosixAcl":
        """The list of what is made with `mode` where this one is the default."""
        return self._with({shift: entry.permissions & (mode >> shift) for shift, entry in self._classes().items()})

    def with_mode(self, mode: int) -> "PosixAcl":
        """The list after chmod(2)."""
        return self._with({shift: (mode >> shift) & 7 for shift in (6, 3, 0)})

    def dump(self) -> bytes:
        """As the attribute holds it."""
        return _HEAD.pack(VERSION) + b"".join(_ENTRY.pack(e.tag, e.permissions, e.who) for e in self.entries)

    def _classes(self) -> dict[int, AclEntry]:
        """The entry that each class of the mode, by its shift, stands for: the mask, if there is one, for the group."""
        by_tag = {entry.tag: entry for entry in self.entries if entry.tag not in (USER, GROUP)}
        return {6: by_tag[USER_OBJ], 3: by_tag.get(MASK, by_tag[GROUP_OBJ]), 0: by_tag[OTHER]}

    def _with(self, permissions: dict[int, int]) -> "PosixAcl":
        new = {id(entry): permissions[shift] for shift, entry in self._classes().items()}
        return PosixAcl(tuple(replace(e, permissions=new.get(id(e), e.permissions)) for e in self.entries))


def parse(value: bytes) -> PosixAcl:
    """Read a list as the kernel sends it. Raises InvalidArgument for one that acl_valid(3) would refuse."""
    if len(value) < _HEAD.size or (len(value) - _HEAD.size) % _ENTRY.size or _HEAD.unpack_from(value)[0] != VERSION:
        raise InvalidArgument("not an access control list")
    entries = tuple(AclEntry(*fields) for fields in _ENTRY.iter_unpack(value[_HEAD.size :]))
    _check(entries)
    return PosixAcl(entries)


def _check(entries: tuple[AclEntry, ...]) -> None:
    tags = [entry.tag for entry in entries]
    named = [(entry.tag, entry.who) for entry in entries if entry.tag in (USER, GROUP)]
    once = all(tags.count(tag) == 1 for tag in (USER_OBJ, GROUP_OBJ, OTHER))
    known = set(tags) <= {USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER}
    mask = tags.count(MASK) == 1 if named else tags.count(MASK) <= 1
    distinct = len(set(named)) == len(named)
    if not (once and known and mask and distinct and tags == sorted(tags)):
        raise InvalidArgument("an access control list with entries missing, twice, unknown or out of order")
    if any(entry.permissions > 7 for entry in entries):
        raise InvalidArgument("an access control list with unknown permissions")
