"""`/sbin/mount.stratumfs` and `/sbin/mount.fuse.stratumfs`: how mount(8) finds us.

Room: stratum/serve. May import: nothing of ours.

Without them mount(8) hands the type `fuse.stratumfs` to /sbin/mount.fuse3, which looks for `stratumfs` in a PATH that
mount(8) made: /usr/local/bin and the like, where a virtual environment is not.
"""

import os
from pathlib import Path

import click

FOLDER = "/sbin"
NAMES = ("mount.stratumfs", "mount.fuse.stratumfs")  # for the types `stratumfs` and `fuse.stratumfs`


def install_helpers(folder: Path, program: Path) -> list[str]:
    """Let both names in `folder` lead to `program`; return what was done. Raises ClickException."""
    program = Path(os.path.abspath(program))
    if not os.access(program, os.X_OK):
        raise click.ClickException(f"{program} is no program: run the installed `stratumfs --install-helper`")
    return [_install(folder / name, program) for name in NAMES]


def _install(link: Path, program: Path) -> str:
    if os.path.lexists(link) and not link.is_symlink():
        raise click.ClickException(f"{link} is there already, and was not made by this command")
    if link.is_symlink() and link.readlink() == program:
        return f"{link} leads to {program} already"
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        fresh.symlink_to(program)
        fresh.replace(link)
    except OSError as error:
        raise click.ClickException(f"{link}: {error.strerror}") from error
    return f"{link} leads to {program} now"
