"""The thread that brings the index up to what the journal has: many commits in one transaction.

Room: stratum/store. May import: core, store.index, store.overlay.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

import trio

from stratum.core.errors import StratumError
from stratum.store.index import Index
from stratum.store.overlay import Layer

log = logging.getLogger(__name__)

REST_S = 0.02  # between two transactions: what is journaled meanwhile shares the next one


class IndexWriter:
    """Commits one layer at a time.

    On the event loop it calls `committed(layer, error)` once for every layer, and `ready()` when it wants the next.
    """

    def __init__(
        self, index: Index, *, committed: Callable[[Layer, Exception | None], None], ready: Callable[[], None]
    ) -> None:
        self._index = index
        self._committed = committed
        self._ready = ready
        self._awake = threading.Event()  # no rest now
        self._stopped = False
        self._jobs: SimpleQueue[tuple[Layer, trio.lowlevel.TrioToken] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="index writer", daemon=True)
        self._thread.start()

    def submit(self, layer: Layer) -> None:
        """Commit `layer`, which must not change any more. To be called on the event loop, when it is ready."""
        self._jobs.put((layer, trio.lowlevel.current_trio_token()))

    def hurry(self) -> None:
        """Do without the next rest, or end the one that is on."""
        self._awake.set()

    def stop(self) -> None:
        """End the thread when what was submitted is done. Blocking."""
        self._stopped = True
        self._awake.set()
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            layer, token = job
            error = self._commit(layer)
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._committed, layer, error)
            if self._awake.wait(REST_S) and not self._stopped:
                self._awake.clear()
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._ready)

    def _commit(self, layer: Layer) -> Exception | None:
        try:
            self._index.commit(layer.number, layer.changes())
        except Exception as error:  # whatever it is, no more must be written
            if not isinstance(error, StratumError):
                log.error("metadata: commit %d of the index", layer.number, exc_info=error)
            return error
        return None
