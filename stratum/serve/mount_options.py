"""Sort the words of `-o`: ours, FUSE's, and those that only mount(8) and fstab understand.

Room: stratum/serve. May import: nothing of ours.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import click

# word -> parameter of `options.load`
OURS = {
    "data": "data",
    "config": "config",
    "s3": "s3",
    "log-level": "log_level",
    "close": "close",
    "transport": "transport",
}

# What mount(8), systemd and mount.fuse3 pass on, and what says nothing new to FUSE.
IGNORED = {
    "defaults", "rw", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail", "dev",
    "suid", "exec", "async", "relatime", "norelatime", "nostrictatime", "lazytime", "nolazytime", "loud", "silent",
    "_rnetdev", "iversion", "noiversion", "mand", "nomand", "diratime", "nofollow", "symfollow",
}  # fmt: skip
IGNORED_PREFIXES = ("x-", "X-", "comment=", "fsname=", "subtype=", "helper=", "uhelper=")


@dataclass(slots=True)
class Chosen:
    """The words, sorted."""

    ours: dict[str, str] = field(default_factory=dict)
    fuse: list[str] = field(default_factory=list)
    background: bool = False
    foreground: bool = False


def split_options(words: Iterable[str]) -> Chosen:
    """Sort `words` (each may hold several, with commas between). Raises UsageError."""
    chosen = Chosen()
    for word in (one for joined in words for one in joined.split(",") if one):
        name, _, value = word.partition("=")
        if name in OURS and not value:
            raise click.UsageError(f"-o {name} needs a value: {name}=...")
        if name in OURS:
            chosen.ours[OURS[name]] = value
        elif word in ("background", "foreground"):
            setattr(chosen, word, True)
        elif word not in IGNORED and not word.startswith(IGNORED_PREFIXES):
            chosen.fuse.append(word)
    return chosen
