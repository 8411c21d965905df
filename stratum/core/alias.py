"""How the mount shows keys that a path cannot express: an alias for each, none hidden, none merged.

Room: stratum/core. May import: core.errors, core.names.

    stored in the directory                                     shown by the mount as
    ----------------------------------------------------------  --------------------------------------
    object `a`                                                  `a`
    directory `a/`                                              `a`
    object `a` beside directory `a/`                            `%file%a`
    object `` in directory `d/` (the key `d/`), with bytes      `%file%` (without bytes: the directory is all of it)
    object `.`, `..`                                            `%file%.`, `%file%..`
    directory `/`, `./`, `../` (as in the key `a//b`)           `%dir%`, `%dir%.`, `%dir%..`
    object, directory with a zero byte in its name              `%file%a%00b`, `%dir%a%00b`
    object, directory whose name is itself an alias             `%file%%25file%25a`, `%dir%%25dir%25`
    whatever would be shown under more than 255 bytes           `%long%` start of the name `%` SHA-256 in hex
    nothing: earlier versions (engine/file_history.py)          `%versions%`; `.versions` too, unless that is stored
    object, directory `%versions%`                              `%file%%25versions%25`, `%dir%%25versions%25`

In `%file%` and `%dir%` a zero byte is written `%00` and a percent sign `%25`; every other byte stands for itself.

Invariants
    A1  In one directory no two entries are shown under the same name, and `parse` of that name finds the entry.
    A2  A name that is no alias of this table is stored as it is: `100%` and `%file` are ordinary names.
    A3  `%file%a` finds object `a` also while there is no directory `a/` (it is then shown as `a`). So an alias stays
        good, wherever it is cached, and making `%file%a` makes object `a` whether `a/` came first or not.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import sha256

from stratum.core.errors import InvalidArgument, NameTooLong
from stratum.core.names import FILE_NAME_BYTES

FILE, DIRECTORY, LONG, VERSIONS = b"%file%", b"%dir%", b"%long%", b"%versions%"
_LONG_ALIAS = re.compile(rb"%long%[^/\0]*%[0-9a-f]{64}", re.DOTALL)
_LONG_START = FILE_NAME_BYTES - len(LONG) - 65  # bytes of the name itself in a long alias
_NOT_ESCAPED = re.compile(rb"%(?!25|00)")  # a percent sign that `_escape` does not write


class Form(Enum):
    """What a name in the mount says about the entry it is for."""

    PLAIN = "the directory of that name or else the object"
    FILE = "exactly the object"
    DIRECTORY = "exactly the directory"
    LONG = "the entry whose long alias this is"
    VERSIONS = "no entry, but the earlier versions of those here"


@dataclass(frozen=True, slots=True)
class Visible:
    """A name in the mount, understood: `base` is the name it stands for, without a slash (of LONG: itself)."""

    form: Form
    base: bytes

    @property
    def beside(self) -> bool:
        """It names one kind only, so an entry of the other kind and the same base is no obstacle."""
        return self.form is not Form.PLAIN

    @property
    def candidates(self) -> tuple[bytes, ...]:
        """The stored names it may be for, the first that exists wins; none for LONG: that has to be looked for,
        and for VERSIONS."""
        return {
            Form.PLAIN: (self.base + b"/", self.base),
            Form.FILE: (self.base,),
            Form.DIRECTORY: (self.base + b"/",),
            Form.LONG: (),
            Form.VERSIONS: (),
        }[self.form]


@lru_cache(maxsize=1024)  # the kernel asks for a name several times in a row
def parse(visible: bytes) -> Visible:
    """Understand a name of the mount (1 to 255 bytes, no `/`, no zero byte, not `.` or `..`)."""
    plain = Visible(Form.PLAIN, visible)
    if len(visible) > FILE_NAME_BYTES:
        return plain
    if visible == VERSIONS:
        return Visible(Form.VERSIONS, visible)
    if _LONG_ALIAS.fullmatch(visible):
        return Visible(Form.LONG, visible)
    for form, mark in ((Form.FILE, FILE), (Form.DIRECTORY, DIRECTORY)):
        text = visible.removeprefix(mark)
        if text == visible or _NOT_ESCAPED.search(text):
            continue
        base = _unescape(text)
        if form is Form.FILE or _needs_alias(base):
            return Visible(form, base)
    return plain


def visible_name(stored: bytes, *, beside_directory: bool) -> bytes:
    """Return the name under which the mount shows an entry.

    `beside_directory`: it is an object `a`, and the same directory holds `a/`.
    """
    is_directory = stored.endswith(b"/")
    base = stored[:-1] if is_directory else stored
    if not _needs_alias(base) and not beside_directory:
        return base if len(base) <= FILE_NAME_BYTES else _long(stored)
    alias = (DIRECTORY if is_directory else FILE) + _escape(base)
    return alias if len(alias) <= FILE_NAME_BYTES else _long(stored)


def visible_names(stored: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return {visible name: stored name} of all entries of one directory."""
    names = set(stored)
    return {visible_name(name, beside_directory=name + b"/" in names): name for name in names}


def stored_name_to_make(visible: bytes, *, directory: bool) -> bytes:
    """Return the stored name under which a new entry is to be made.

    Raises NameTooLong, also for a long alias that is nobody's (the name it stands for cannot be known), and
    InvalidArgument for an alias that stands for the other kind, or for what is never stored.
    """
    parsed = parse(visible)
    if parsed.form is Form.LONG or len(visible) > FILE_NAME_BYTES:
        raise NameTooLong(visible[:40].decode(errors="replace"))
    if parsed.form in (Form.FILE if directory else Form.DIRECTORY, Form.VERSIONS):
        raise InvalidArgument(f"{visible.decode(errors='replace')!r} is an alias of something else")
    return parsed.base + b"/" if directory else parsed.base


def names_to_forget(stored: bytes) -> tuple[bytes, ...]:
    """Every name under which the mount may show, or have shown, what a change of this entry is about.

    A directory `a/` that comes or goes also changes how object `a` is shown, and the other way round.
    """
    base = stored[:-1] if stored.endswith(b"/") else stored
    return tuple({visible_name(name, beside_directory=beside) for name, beside in _faces(base)})


def _faces(base: bytes) -> tuple[tuple[bytes, bool], ...]:
    return (base, False), (base, True), (base + b"/", False)


def _needs_alias(base: bytes) -> bool:
    return base in (b"", b".", b"..") or b"\0" in base or parse(base).form is not Form.PLAIN


def _escape(base: bytes) -> bytes:
    return base.replace(b"%", b"%25").replace(b"\0", b"%00")


def _unescape(text: bytes) -> bytes:
    return text.replace(b"%00", b"\0").replace(b"%25", b"%")


def _long(stored: bytes) -> bytes:
    start = stored.removesuffix(b"/")[:_LONG_START].replace(b"\0", b"%")
    whole = start.decode(errors="ignore").encode()  # no character is cut in two
    return LONG + whole + b"%" + sha256(stored).hexdigest().encode()
