"""Tell the kernel to forget what S3 changed, exactly and at once.

Room: stratumfs. May import: core, engine.changes.

Invariants
    K1  Invalidating may block until a request that is under way has its answer. So it happens in a thread of its own,
        never in a handler, and the thread ends before the handlers do.
    K2  Attributes of a directory go first: a name alone does not invalidate them if the kernel never looked it up.
    K3  That an inode is deleted is told only of one that has lost its last name: the kernel believes it for good.
"""

import errno
import logging
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from threading import Thread

import trio

from stratum.core.alias import names_to_forget
from stratum.core.namespace import Change

log = logging.getLogger(__name__)

MANY = 100_000  # changes waiting, from where on somebody should know
PATIENCE = 5.0  # seconds; a request under way holds the kernel's lock no longer than that

# The kernel has forgotten the name all the same, but tells nobody: something is mounted there, or below it is in use.
FORGOTTEN = (errno.ENOTEMPTY, errno.EBUSY)

Step = Callable[[], None]


class KernelCaches:
    """A queue of what the kernel is to forget, and the thread that says so.

    `forget_name(directory inode, name, inode that is gone or 0)` and `forget_attributes(inode)` raise
    FileNotFoundError for what the kernel does not know anyway. `is_gone`: has an inode lost its last name?
    """

    def __init__(
        self,
        forget_name: Callable[[int, bytes, int], None],
        forget_attributes: Callable[[int], None],
        is_gone: Callable[[int], bool],
    ) -> None:
        self._forget_name = forget_name
        self._forget_attributes = forget_attributes
        self._is_gone = is_gone
        self._queue: SimpleQueue[tuple[Change, int] | Step | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="kernel-caches", daemon=True)
        self._warned = False

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def forget(self, changes: Sequence[Change]) -> None:
        """Have the kernel forget. Returns at once."""
        for change in changes:
            self._queue.put((change, change.inode if self._is_gone(change.inode) else 0))
        if self._queue.qsize() > MANY and not self._warned:
            self._warned = True
            log.warning("the kernel does not keep up with invalidations", extra={"waiting": self._queue.qsize()})

    async def forget_inode(self, number: int) -> None:
        """Have the kernel forget the attributes of an inode before its request under way is answered.

        Attributes alone wait for no lock of the kernel, unlike names (K1); nor for what is queued.
        """
        await trio.to_thread.run_sync(self._try, lambda: self._forget_attributes(number))

    async def caught_up(self) -> None:
        """Return when the kernel has forgotten everything that was queued so far; after `PATIENCE` seconds anyway."""
        done, token = trio.Event(), trio.lowlevel.current_trio_token()
        self._queue.put(lambda: token.run_sync_soon(done.set))
        with trio.move_on_after(PATIENCE) as scope:
            await done.wait()
        if scope.cancelled_caught:
            log.warning("the kernel did not take an invalidation within %g s", PATIENCE)

    def stop(self, patience: float) -> bool:
        """End when everything was said, or after `patience` seconds: then return False. Blocking."""
        self._queue.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (change := self._queue.get()) is not None:
            if not isinstance(change, tuple):
                change()
                continue
            self._forget(*change)

    def _forget(self, change: Change, gone: int) -> None:
        self._try(lambda: self._forget_attributes(change.parent))
        self._try(lambda: self._forget_attributes(change.inode))
        for name in names_to_forget(change.name):
            self._try(partial(self._forget_name, change.parent, name, gone))

    def _try(self, step: Step) -> None:
        try:
            step()
        except FileNotFoundError:
            pass  # the kernel does not know it: nothing to forget
        except OSError as error:
            if error.errno in FORGOTTEN:
                return
            log.warning("the kernel may show something old for a minute: %s", error)
