"""The `stratumfs` command: engine, S3 endpoint and mount in one process, from a shell, systemd or fstab.

Room: stratum/serve. May import: serve.*.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click

from stratum.serve.background import CHILD, start_in_background
from stratum.serve.mount_links import FOLDER, install_helpers
from stratum.serve.mount_options import split_options
from stratum.serve.mountpoint import check_apart
from stratum.serve.options import load, reports_errors, s3_option, with_store_options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("places", nargs=-1, metavar="[SOURCE] MOUNTPOINT")
@click.option("-o", "words", multiple=True, metavar="OPT,...", help="Options as in fstab; see below.")
@with_store_options
@s3_option
@click.option("-n", "-s", "-v", "mount_says", is_flag=True, hidden=True, help="As mount(8) calls its helpers.")
@click.option("-t", "-N", "mount_tells", hidden=True, help="As mount(8) calls its helpers.")
@click.option("-f", "fake", is_flag=True, hidden=True, help="As mount(8) calls its helpers: do all but mount.")
@click.option(
    "--install-helper",
    "helper_folder",
    is_flag=False,
    flag_value=FOLDER,
    metavar="[FOLDER]",
    help="Let mount(8) find this program, by links in /sbin, and exit.",
)
@click.option("--guide", is_flag=True, help="Print how to use it once it is ready.")
@click.version_option(package_name="stratum", prog_name="stratumfs")
@reports_errors
def main(
    places: tuple[str, ...],
    words: tuple[str, ...],
    guide: bool,
    mount_says: bool,
    mount_tells: str | None,
    fake: bool,
    helper_folder: str | None,
    **options: Any,
) -> None:
    """Mount the store on MOUNTPOINT and serve it over S3.

    Every bucket is a folder of the mount, every object a file. SOURCE is only a name for the list of mounts. It stays
    in the foreground, unless it is called with SOURCE and -o, as mount(8) does.
    Prints one line beginning with `ready` when both doors answer. `umount MOUNTPOINT`, Ctrl-C or SIGTERM publishes
    what is open, unmounts and ends it; a second signal ends it at once.

    \b
    Options (-o):
      close=durable      close() of a file returns only when it is durable (default: within 50 ms)
      transport=pyfuse3  speak with the kernel through libfuse, not by ourselves (raw, the default)
      allow_other        other users may use the mount (default as root)
      background         return once mounted, with the server in the background; foreground: do not
      data=, config=, s3=, log-level=     as the long options of the same names
      ...                what FUSE knows (ro, nodev, max_read=, ...); what only fstab knows is ignored

    \b
    Examples:
      stratumfs /mnt/stratum
      stratumfs --data /srv/stratum --s3 0.0.0.0:9000 /mnt/stratum
    In /etc/fstab:
      stratum  /mnt/stratum  fuse.stratumfs  _netdev,data=/srv/stratum  0  0
    """
    if helper_folder is not None:
        click.echo("\n".join(install_helpers(Path(helper_folder), Path(sys.argv[0]))))
        return
    if not 1 <= len(places) <= 2:
        raise click.UsageError("name a MOUNTPOINT, perhaps a SOURCE before it, and nothing else")
    chosen = split_options(words)
    given = {**chosen.ours, **{name: value for name, value in options.items() if value is not None}}
    loaded = load(**given)
    if fake:
        return
    check_apart(Path(places[-1]), loaded.settings)  # before the first file of the store is made
    by_mount = len(places) == 2 and bool(words)
    if (chosen.background or (by_mount and not chosen.foreground)) and CHILD not in os.environ:
        sys.exit(start_in_background(Path(loaded.settings.data), sys.argv))
    from stratum.serve.start import start  # only here: a background start needs no engine in the foreground

    sys.exit(start(loaded, mountpoint=Path(places[-1]), mount_options=chosen.fuse, guide=guide))
