"""What a person is told once the doors are open: where, with which credentials, and three things to try.

Room: stratum/serve. May import: serve.{credentials_file, master_key}. Pure text.
"""

import shlex
from pathlib import Path

from stratum.serve.credentials_file import Root
from stratum.serve.master_key import Masters


def ready_line(endpoint: str, mountpoint: Path | None, seconds: float) -> str:
    """The one line that says: both doors answer."""
    doors = ([f"s3={endpoint}"] if endpoint else []) + ([f"mount={mountpoint}"] if mountpoint else [])
    return f"ready {' '.join(doors)} after {seconds:.1f} s"


def guide(
    endpoint: str, mountpoint: Path | None, root: Root, region: str, masters: Masters | None = None, trust: str = ""
) -> str:
    """A page for the terminal. The secret stands in it only when it was generated just now.

    `trust`: the file of a certificate that nobody else vouches for; empty: none.
    """
    parts = [_doors(endpoint, mountpoint)]
    if endpoint:
        parts.append(_exports(endpoint, root, region, trust))
    if masters is not None and masters.new:
        parts.append(
            f"The master key of encrypted objects was made, too ({masters.place}).\n"
            "Keep a copy of it elsewhere: what is encrypted cannot be read without it.\n"
        )
    parts.append(_to_try(endpoint, mountpoint))
    return "\n".join(parts)


def _doors(endpoint: str, mountpoint: Path | None) -> str:
    lines = [f"  S3 endpoint   {endpoint}"] if endpoint else []
    lines += [f"  mount         {mountpoint}   (a folder per bucket, a file per object)"] if mountpoint else []
    return "\nStratum serves the same data through:\n" + "\n".join(lines) + "\n"


def _exports(endpoint: str, root: Root, region: str, trust: str) -> str:
    if root.new:
        title = f"Root credentials, made just now and shown only this once (kept in {root.place}):"
        names = {
            "AWS_ACCESS_KEY_ID": root.credential.access_key,
            "AWS_SECRET_ACCESS_KEY": root.credential.secret_key,
        }
    elif root.place.startswith("/"):
        title = f"The root credentials are kept in {root.place}:"
        names = {"AWS_SHARED_CREDENTIALS_FILE": root.place}
    else:
        title = f"The root credentials come from {root.place}:"
        names = {"AWS_ACCESS_KEY_ID": root.credential.access_key}
    names |= {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": region}
    names |= {"AWS_CA_BUNDLE": trust} if trust else {}
    return title + "\n\n" + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in names.items())


def _to_try(endpoint: str, mountpoint: Path | None) -> str:
    if endpoint and mountpoint:
        commands = [
            "aws s3 mb s3://first",
            "aws s3 cp /etc/os-release s3://first/hello.txt",
            f"cat {shlex.quote(str(mountpoint / 'first/hello.txt'))}",
        ]
    elif endpoint:
        commands = [
            "aws s3 mb s3://first",
            "aws s3 cp /etc/os-release s3://first/hello.txt",
            "aws s3 ls s3://first/",
        ]
    else:
        where = shlex.quote(str((mountpoint or Path("/")) / "first"))
        commands = [f"mkdir {where}", f"cp /etc/os-release {where}/hello.txt", f"cat {where}/hello.txt"]
    return "To try, in another terminal:\n\n" + "".join(f"  {command}\n" for command in commands)
