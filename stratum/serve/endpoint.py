"""The HTTP endpoint of this process: the S3 door, and the console's pages on the same port below /-/.

Room: stratum/serve. May import: everything. Here the two siblings meet: the console gets its `authorise` from S3.
"""

import hashlib
import hmac
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import trio

from stratum.console.access import Asked, Authorise, Denied
from stratum.console.app import add_console
from stratum.console.metrics import RequestCounts
from stratum.console.sessions import Sessions
from stratum.core.config import Limits
from stratum.engine.credentials import RootCredential
from stratum.engine.engine import Engine
from stratum.s3.app import make_app
from stratum.s3.door import S3Door
from stratum.s3.errors import S3Error
from stratum.s3.hosts import Hosts
from stratum.s3.http import Request
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.s3.sigv4 import Verifier
from stratum.serve.credentials_file import metrics_token
from stratum.serve.settings_file import as_keys
from stratum.serve.settings_values import join_address
from stratum.serve.stopping import Stop
from stratum.serve.tls import Tls
from stratum.serve.watched_door import WatchedDoor
from stratum.serve.web_endpoint import Console, make_web_app, web_listener

log = logging.getLogger(__name__)

DRAIN_SHARE = 0.5  # of Limits.shutdown_grace for requests under way; the rest is the mount's

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # bound to all addresses: the one this machine reaches itself at


@dataclass(frozen=True, slots=True)
class Facts:
    """What a status page says of the process itself."""

    since: float  # seconds since the epoch
    mountpoint: Path | None
    console_asked: bool = False  # somebody named the address of the console: it must be had


async def serve_endpoint(
    engine: Engine,
    root: RootCredential,
    facts: Facts,
    stop: Stop,
    *,
    tls: Tls | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop`, then finish what is under way. Reports host:port for clients on this machine.

    Raises OSError if the address cannot be bound.
    """
    settings = engine.settings
    assert settings.s3_port is not None
    listener = _bind(settings.s3_host, settings.s3_port, settings.limits)
    address = join_address(*_reached_at(settings.s3_host, listener))
    counts = RequestCounts()
    door = WatchedDoor(S3Door(engine, now_s=lambda: int(time.time())), counts)
    app = make_app(door, settings.limits, Hosts.of(settings))
    sessions = Sessions(engine.credentials, trio.current_time)
    web = web_listener(settings, asked_for=facts.console_asked)
    web_address = "" if web is None else join_address(*_reached_at(settings.console_host, web))

    def about() -> dict[str, object]:
        return {**_about(engine, address, facts), "console": f"{settings.scheme}://{web_address}" if web else ""}

    add_console(
        app,
        engine,
        authorise=authorise_with(engine, time.time),
        settings=as_keys(settings),
        about=about,
        token=metrics_token(root),
        counts=counts,
        tickets=sessions.ticket if web else None,
    )
    grace = settings.limits.shutdown_grace * DRAIN_SHARE
    serving = Serving(limits=settings.limits, protocol=settings.connection, tls=None if tls is None else tls.context)
    of_s3 = replace(serving, http2_tls=tls.http2_context) if settings.http2 and tls is not None else serving
    async with trio.open_nursery() as watching:
        if tls is not None:
            watching.start_soon(tls.watch, settings.limits.tls_check_interval)
        async with trio.open_nursery() as nursery:
            await _serve_native(engine, door, tls, stop, nursery)
            serve = partial(serve_app, stop=stop.wait, grace=grace)
            if web is not None:
                console = Console(
                    engine=engine,
                    door=door,
                    sessions=sessions,
                    about=about,
                    token=metrics_token(root),
                    counts=counts,
                    s3_port=listener.getsockname()[1],
                )
                await nursery.start(partial(serve, serving=serving), make_web_app(console), web)
            await nursery.start(partial(serve, serving=of_s3), app, listener)
            task_status.started(address)
        watching.cancel_scope.cancel()


async def _serve_native(engine: Engine, door: WatchedDoor, tls: Tls | None, stop: Stop, nursery: trio.Nursery) -> None:
    """Start the native interface, where there is one. Raises OSError, ImportError (the extra `rpc` is missing)."""
    settings = engine.settings
    if settings.rpc_port is None:
        return
    from stratum.serve.rpc_endpoint import make_rpc, rpc_credentials, serve_rpc  # only here: an extra

    credentials = None if tls is None else await trio.to_thread.run_sync(rpc_credentials, tls)
    address = join_address(settings.rpc_host, settings.rpc_port)
    port = await nursery.start(partial(serve_rpc, make_rpc(engine, door, credentials), address, stop=stop.wait))
    log.info("the native interface answers", extra={"address": join_address(settings.rpc_host, port)})


def _reached_at(host: str, listener: socket.socket) -> tuple[str, int]:
    """Where this machine reaches a listener that was bound to `host`."""
    return ANYWHERE.get(host, host), listener.getsockname()[1]


def _bind(host: str, port: int, limits: Limits) -> socket.socket:
    try:
        return open_listener(host, port, limits)
    except OSError as error:
        address = join_address(host, port)
        raise OSError(error.errno, f"the S3 endpoint cannot listen on {address} ({error.strerror})") from error


def _about(engine: Engine, address: str, facts: Facts) -> dict[str, object]:
    return {
        "version": _version(),
        "pid": os.getpid(),
        "since": facts.since,
        "s3": f"{engine.settings.scheme}://{address}",
        "mount": str(facts.mountpoint or ""),
        "region": engine.settings.region,
        "code": f"{engine.settings.k}+{engine.settings.parity}",
    }


def _version() -> str:
    try:
        return version("stratum")
    except PackageNotFoundError:  # run from its folder, without being installed
        return "unknown"


def authorise_with(engine: Engine, now: Callable[[], float]) -> Authorise:
    """How the console checks a signature: as S3 does, and stricter: signed headers, and a signed body."""
    verifier = Verifier(region=engine.settings.region, secret_of=engine.credentials.secret_of)

    async def authorise(asked: Asked) -> str:
        request = Request(
            method=asked.method,
            raw_path=asked.raw_path,
            raw_query=asked.raw_query,
            headers=asked.headers,
            peer=asked.peer,
        )
        try:
            verified = verifier.verify(request, now_s=int(now()))
        except S3Error as error:
            raise Denied(f"{error.code}: this needs a request signed with the root credential") from error
        digest = hashlib.sha256(asked.body).hexdigest()
        if verified.presigned or not hmac.compare_digest(digest, verified.content_sha256):
            raise Denied("the signature must be in a header and cover the body")
        return verified.access_key

    return authorise
