"""From settings to a running event loop: what `stratum serve` and `stratumfs` have in common.

Room: stratum/serve. May import: core, store.failpoints, serve.*.
"""

import faulthandler
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from stratum.serve.credentials_file import root_credential
from stratum.serve.logs import hide, set_up_logs
from stratum.serve.master_key import forms, master_keys
from stratum.serve.mount_protection import protect_from_memory_pressure
from stratum.serve.mountpoint import prepare_mountpoint
from stratum.serve.process import Launch, run
from stratum.serve.settings_file import Loaded
from stratum.serve.store_lock import lock_store
from stratum.store import failpoints


def start(
    loaded: Loaded, *, mountpoint: Path | None = None, mount_options: Sequence[str] = (), guide: bool = False
) -> int:
    """Serve until asked to end; return the exit code.

    Raises what `process.run` raises, StoreLocked, BadCredentials, BadMasterKey, BadMountpoint.
    """
    started = time.monotonic()
    settings = loaded.settings
    set_up_logs(settings.log_level, settings.log_format)
    faulthandler.register(signal.SIGUSR1)  # kill -USR1: where is every thread?
    if failpoint := os.environ.get("STRATUM_FAILPOINT"):
        failpoints.arm_from(failpoint)
    with lock_store(Path(settings.data)) as lock:
        if mountpoint is not None:
            mountpoint = prepare_mountpoint(mountpoint, settings)
            protect_from_memory_pressure()
        root = root_credential(Path(settings.data), os.environ)
        hide(root.credential.secret_key)
        masters = master_keys(settings, os.environ)
        for form in forms(masters.keys):
            hide(form)
        launch = Launch(
            loaded=loaded,
            root=root,
            masters=masters,
            lock=lock,
            mountpoint=mountpoint,
            mount_options=mount_options,
            guide=guide,
            started=started,
        )
        return trio.run(run, launch)
