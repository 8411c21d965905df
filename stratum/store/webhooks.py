"""Webhooks: POST a message to a target of the settings, and nowhere else.

Room: stratum/store. May import: core.

Invariants
    W1  Where to is the operator's word alone (`[notify.<name>]`), never that of a client. Redirects are not followed,
        proxies of the environment are not used.
    W2  A name is resolved here, every address is judged, and the connection is made to an address that was judged: so
        a name that changes between the look and the connection (DNS rebinding) gains nothing. Addresses that are not
        public are refused unless the target is allowed them.
    W3  Nothing of the answer is kept but its status; a slow or endless one ends with the time for the whole exchange.

The secret of a target signs the body: `X-Stratum-Signature: sha256=<hex HMAC-SHA256>`. See decision 0009.
"""

import hashlib
import hmac
import ipaddress
import os
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

import httpcore
import trio

from stratum.core.config import NotifyTarget
from stratum.core.errors import NotDelivered

WHOLE_SECONDS = 30.0  # for one exchange, resolving and connecting included
SIGNATURE = "X-Stratum-Signature"
SECRET_BYTES_MAX = 4096
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Webhooks:
    """Sends messages; keeps a connection to each target."""

    def __init__(self) -> None:
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}

    async def send(self, target: NotifyTarget, body: bytes) -> None:
        """Deliver a message: return once the target has answered 2xx. Raises NotDelivered."""
        try:
            with trio.fail_after(WHOLE_SECONDS):
                status = await self._post(target, body)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise NotDelivered(f"{target.name}: {type(error).__name__}") from error
        except (trio.TooSlowError, OSError, ValueError) as error:
            raise NotDelivered(f"{target.name}: {error or 'no answer in time'}") from error
        if not 200 <= status < 300:
            raise NotDelivered(f"{target.name}: answered {status}")

    async def _post(self, target: NotifyTarget, body: bytes) -> int:
        secret = await trio.to_thread.run_sync(read_secret, target.secret_ref)
        headers = {"Content-Type": "application/json", "User-Agent": "stratum"}
        if secret:
            headers[SIGNATURE] = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        headers_sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with self._pool(target).stream("POST", target.url, headers=headers_sent, content=body) as answer:
            return int(answer.status)

    def _pool(self, target: NotifyTarget) -> httpcore.AsyncConnectionPool:
        if target.name not in self._pools:
            self._pools[target.name] = httpcore.AsyncConnectionPool(
                ssl_context=ssl.create_default_context(),  # the system's trust, as the operator keeps it
                max_connections=1,
                keepalive_expiry=30.0,
                network_backend=Judged(allow_private=target.allow_private),
            )
        return self._pools[target.name]

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()
        self._pools.clear()


def read_secret(reference: str) -> bytes:
    """The secret that `env:NAME` or `file:/path` refers to; empty for none. Blocks. Raises OSError, ValueError."""
    kind, _, place = reference.partition(":")
    if not reference:
        return b""
    if kind == "env":
        secret = os.environ.get(place, "").encode()
    else:
        with Path(place).open("rb") as file:
            secret = file.read(SECRET_BYTES_MAX).strip()
    if not secret:
        raise ValueError(f"its secret ({reference}) is empty")
    return secret


class Judged(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that were looked at (W2)."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._trio = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As httpcore has it; OSError for an address that is refused."""
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not self._allow_private:
            refuse_private(host, addresses)
        last: Exception | None = None
        for address in addresses:
            try:
                return await self._trio.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.NetworkError as error:
                last = error
        raise last or OSError(f"{host} has no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise OSError("no sockets of the file system")

    async def sleep(self, seconds: float) -> None:
        """As httpcore has it."""
        await trio.sleep(seconds)


def refuse_private(host: str, addresses: Sequence[str]) -> None:
    """Raise OSError if any of the addresses is not a public one."""
    for text in addresses:
        if not is_public(text):
            raise OSError(f"{host} is at {text}, which is no public address; see allow_private")


def is_public(text: str) -> bool:
    """Is it the address of somebody on the Internet: not of this machine, this network or a cloud's own services?"""
    address = ipaddress.ip_address(text.partition("%")[0])
    inside = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if isinstance(address, ipaddress.IPv6Address) and address in NAT64:
        inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    judged = inside or address
    return judged.is_global and not judged.is_multicast
