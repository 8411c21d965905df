"""Tell systemd how the process is doing (sd_notify); without systemd, do nothing.

Room: stratum/serve. May import: nothing of ours. Protocol: sd_notify(3), one datagram of NAME=value lines.
"""

import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(**states: str) -> bool:
    """Send e.g. notify(READY="1", STATUS="serving"). Returns whether there was somebody to tell."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    lines = "\n".join(f"{name}={value}" for name, value in states.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(lines.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            log.warning("systemd did not hear %s: %s", states, error)
            return False
    return True
