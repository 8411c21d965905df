"""Start the same command again in the background, and return when it is ready: what fstab and mount(8) expect.

Room: stratum/serve. May import: nothing of ours.

The child tells us as it would tell systemd (serve/notify.py): READY=1 over a datagram socket of ours.
"""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

CHILD = "STRATUMFS_IN_BACKGROUND"  # set for the second process, so that it does not start a third
LOG_NAME = "stratumfs.log"
LOG_TAIL_BYTES = 2000


def start_in_background(data: Path, arguments: Sequence[str]) -> int:
    """Run `arguments` (this command line) once more. Return 0 when that is ready, else its exit code."""
    data.mkdir(parents=True, exist_ok=True)
    name = f"\0stratumfs-{os.getpid()}"  # abstract: leaves nothing behind
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        open(data / LOG_NAME, "ab") as log,
    ):
        channel.bind(name)
        begin = log.tell()
        child = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "NOTIFY_SOCKET": "@" + name[1:], CHILD: "1"},
            start_new_session=True,
        )
        if _becomes_ready(channel, child):
            return 0
    said = (data / LOG_NAME).read_bytes()[begin:][-LOG_TAIL_BYTES:].decode(errors="replace").rstrip()
    click.echo(said or f"stratumfs ended with {child.returncode}", err=True)
    return child.returncode or 1


def _becomes_ready(channel: socket.socket, child: subprocess.Popen[bytes]) -> bool:
    descriptor = os.pidfd_open(child.pid)
    try:
        while True:
            heard, _, _ = select.select([channel, descriptor], [], [])
            if channel in heard and b"READY=1" in channel.recv(4096):
                return True
            if descriptor in heard:
                child.wait()
                return False
    finally:
        os.close(descriptor)
