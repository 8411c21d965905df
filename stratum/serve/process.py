"""Put a process together: engine, S3 endpoint, mount; then wait for the end and take it apart again.

Room: stratum/serve. May import: everything.

    engine > signals > mount > S3 endpoint      one nursery tree; what opens last closes first

The end (signal, unmount): the endpoint takes no more connections and finishes what is under way, the mount publishes
what is open and unmounts, the engine makes everything durable and closes. Exit code 0, within 10 s.
"""

import gc
import logging
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from stratum.engine.engine import Engine, open_engine
from stratum.serve.allocator import keep_memory
from stratum.serve.credentials_file import Root
from stratum.serve.endpoint import Facts, serve_endpoint
from stratum.serve.guide import guide, ready_line
from stratum.serve.master_key import Masters
from stratum.serve.notify import notify
from stratum.serve.settings_file import Loaded
from stratum.serve.stopping import Stop
from stratum.serve.store_lock import StoreLock
from stratum.serve.tls import Tls, open_tls

log = logging.getLogger(__name__)

LAST_STEPS = 1.5  # seconds for closing the engine after Limits.shutdown_grace


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start."""

    loaded: Loaded
    root: Root
    masters: Masters
    lock: StoreLock
    mountpoint: Path | None = None  # prepared; None: no mount
    mount_options: Sequence[str] = ()
    guide: bool = False  # print how to use it
    started: float  # time.monotonic()


async def run(launch: Launch) -> int:
    """Serve until asked to end; return the exit code. Raises StratumError, OSError (also in groups)."""
    settings = launch.loaded.settings
    os.chdir("/")  # never inside the own mount
    _raise_file_limit()
    keep_memory()
    if launch.loaded.disks_by_default:
        log.warning(
            "the disks are folders on one device: two folders may be lost, but not the device. "
            "Name real disks under [tier.hot] disks",
            extra={"folder": f"{settings.data}/disks"},
        )
    owner = (os.geteuid(), os.getegid())
    with Stop(patience=settings.limits.shutdown_grace + LAST_STEPS, mountpoint=launch.mountpoint) as stop:
        async with open_engine(
            settings, root=launch.root.credential, now_ns=time.time_ns, owner=owner, masters=launch.masters.keys
        ) as engine:
            _say_how_it_recovered(engine)
            gc.freeze()  # what is there by now stays: to walk through it stops the loop for 40 ms at a time
            await _serve_doors(launch, engine, stop)
    log.info("stopped: %s", stop.reason)
    return 0


async def _serve_doors(launch: Launch, engine: Engine, stop: Stop) -> None:
    """Open the doors, wait, close them: first the endpoint, then the mount, both within the grace."""
    unmount, patience = trio.CancelScope(), trio.CancelScope()
    tls = open_tls(launch.loaded.settings, time.time)
    async with trio.open_nursery() as signals:
        await signals.start(stop.watch_signals)
        with patience:
            async with trio.open_nursery() as mounts:
                async with trio.open_nursery() as endpoints:
                    address = await _open_doors(launch, engine, stop, tls, mounts, endpoints, unmount)
                    launch.lock.describe(
                        address=address,
                        mountpoint=str(launch.mountpoint or ""),
                        certificate=str(tls.certificate) if tls else "",
                    )
                    _announce(launch, address, tls, time.monotonic() - launch.started)
                    await stop.wait()
                    patience.deadline = trio.current_time() + engine.limits.shutdown_grace
                unmount.cancel()
        if patience.cancelled_caught:
            log.warning("not everything under way was finished in time")
        signals.cancel_scope.cancel()


async def _open_doors(
    launch: Launch,
    engine: Engine,
    stop: Stop,
    tls: Tls | None,
    mounts: trio.Nursery,
    endpoints: trio.Nursery,
    unmount: trio.CancelScope,
) -> str:
    """Return the address of the endpoint when both doors answer; empty: no endpoint."""
    address = ""
    if launch.loaded.settings.s3_port is not None:
        facts = Facts(
            since=time.time(),
            mountpoint=launch.mountpoint,
            console_asked="console.address" in launch.loaded.sources,
        )
        serve = partial(serve_endpoint, engine, launch.root.credential, facts, stop, tls=tls)
        address = await endpoints.start(serve)
    if launch.mountpoint is not None:
        await mounts.start(_serve_mount, launch, engine, stop, unmount)
    return address


async def _serve_mount(
    launch: Launch,
    engine: Engine,
    stop: Stop,
    unmount: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep the mount; its end (somebody ran umount) is the end of the process."""
    from stratumfs.mount import mount  # only here: without a mount, libfuse need not be there

    with unmount:
        await mount(
            engine,
            launch.mountpoint,
            launch.mount_options,
            transport=launch.loaded.settings.transport,
            task_status=task_status,
        )
    stop.ask("unmounted")


def _announce(launch: Launch, address: str, tls: Tls | None, seconds: float) -> None:
    """Tell whoever started us, in one write: the line `ready` is the last thing to wait for."""
    settings = launch.loaded.settings
    url = f"{settings.scheme}://{address}" if address else ""
    trust = str(tls.certificate) if tls and settings.tls_self_signed else ""
    text = ready_line(url, launch.mountpoint, seconds) + "\n"
    if launch.guide:
        text = guide(url, launch.mountpoint, launch.root, settings.region, launch.masters, trust) + "\n" + text
    elif launch.root.new:
        log.warning("root credentials were generated", extra={"kept_in": launch.root.place})
    if launch.masters.new:
        log.warning(
            "a master key for encryption was generated: keep a copy elsewhere, what is encrypted is lost without it",
            extra={"kept_in": launch.masters.place},
        )
    sys.stdout.write(text)
    sys.stdout.flush()
    notify(READY="1", STATUS=text.splitlines()[-1])


def _say_how_it_recovered(engine: Engine) -> None:
    recovery = engine.meta.recovery
    if recovery.kind in ("rolled-forward", "rebuilt"):
        log.warning(
            "the metadata index was %s from the journal: %s",
            recovery.kind,
            recovery.reason,
            extra={"records": recovery.records},
        )


def _raise_file_limit() -> None:
    """As many open files as we are allowed: shards, connections, handles."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
