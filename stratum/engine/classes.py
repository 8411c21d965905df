"""What contents are: by a trained model (`magika`, extra `classify`) on their first bytes, once they are written.

Room: stratum/engine. May import: core, engine.{contents, surroundings, tiering_subjects}.

A class is the type by which groups of evidence are told apart (engine.tiering.classify). Without the model, and where
it is not sure, the type is that of Content-Type, else what the name ends in.

Invariants
    M1  No writer waits: a write leaves a note in memory, QUEUE of them at the most; the model runs in a thread, and
        rests as long as it worked. What is not classified has its ordinary type.
    M2  Of encrypted contents nothing is learnt that the index does not say anyway: they are not read.
    M3  Only what says more than the ordinary type is kept: a row of the content, gone soon after it.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice

import trio

from stratum.core.config import KIB
from stratum.core.errors import StratumError
from stratum.core.manifest import Span, spans_in, users
from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Upload
from stratum.core.schema import CONTENT_CLASS, content_class_key, id_of
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiering_subjects import type_of

log = logging.getLogger(__name__)

HEAD_BYTES = 4 * KIB  # the model looks at the first and last KiB of what it gets
SURE = 0.7
VAGUE = ("", "application/octet-stream", "text/plain", "inode/x-empty")
QUEUE = 2_000
SLICE = 500
DELAY_S = 5.0  # from the first write until the model is loaded: who only starts and stops needs none
FORGET_S = 86_400.0

Model = Callable[[bytes], str]
"""First bytes to MIME type; empty: not sure. Blocking."""


def magika_model() -> Model | None:
    """Load the model, if the extra is installed. Blocking: most of a second, and 80 MB."""
    try:
        from magika import Magika
    except ImportError:
        return None
    known = Magika()

    def classify(head: bytes) -> str:
        found = known.identify_bytes(head)
        return str(found.output.mime_type) if found.score >= SURE else ""

    return classify


class Classes:
    """The classes of one store; a consequence of writes (see engine.consequences)."""

    def __init__(self, surroundings: Surroundings, load_model: Callable[[], Model | None] = magika_model) -> None:
        self._around = surroundings
        self._load = load_model
        self._waiting: dict[int, ObjectView] = {}  # content -> who it was written as
        self._there = trio.Event()
        self.delay = DELAY_S
        self.model = "not loaded yet"  # or: magika, none
        self.classified = self.left_out = 0  # contents, since the start

    # --- for decisions --------------------------------------------------------------------------------------

    def type_of(self, view: ObjectView) -> str:
        """The type of an object."""
        found = self._around.meta.read(lambda txn: load(txn, content_class_key(view.inode.content), str))
        return found or type_of(view)

    # --- consequences of writes -----------------------------------------------------------------------------

    def written(self, txn: Txn, name: str, bucket: Bucket, view: ObjectView, event: str, principal: str) -> None:
        """A new content is to be looked at (M1)."""
        inode = view.inode
        if (
            not event.startswith("ObjectCreated")
            or not inode.content
            or inode.sealed is not None
            or self.model == "none"
        ):
            return
        if len(self._waiting) >= QUEUE:
            self.left_out += 1
            return
        self._waiting[inode.content] = view
        self._there.set()

    def removed(
        self, txn: Txn, name: str, bucket: Bucket, key: bytes, version: str, sequence: int, event: str, principal: str
    ) -> None:
        """See engine.consequences."""

    def begun(self, txn: Txn, name: str, upload_id: str, upload: Upload) -> None:
        """See engine.consequences."""

    def moved(self, txn: Txn, name: str) -> None:
        """See engine.consequences."""

    # --- the service ----------------------------------------------------------------------------------------

    @property
    def services(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs for as long as the engine does."""
        return [self.run, self._forget_gone]

    async def run(self) -> None:
        """Classify what was written, until cancelled."""
        await self._there.wait()
        await trio.sleep(self.delay)
        model = await trio.to_thread.run_sync(self._load, abandon_on_cancel=True)
        self.model = "none" if model is None else "magika"
        if model is None:
            log.info("contents are told apart by Content-Type and name: magika is not installed")
            self._waiting.clear()
            return
        while True:
            await self._there.wait()
            self._there = trio.Event()
            while self._waiting:
                content = next(iter(self._waiting))
                view = self._waiting.pop(content)
                begun = trio.current_time()
                try:
                    await self._classify(model, content, view)
                except StratumError as error:  # it keeps its ordinary type
                    log.debug("content %d is not classified: %s", content, error)
                await trio.sleep(min(1.0, trio.current_time() - begun))

    async def _classify(self, model: Model, content: int, view: ObjectView) -> None:
        spans: list[Span] = self._around.meta.read(lambda txn: spans_in(txn, content, 0, HEAD_BYTES))
        if not spans:
            return
        head = await self._around.contents.read(spans, 0, min(HEAD_BYTES, view.inode.size))
        found = await trio.to_thread.run_sync(model, head, abandon_on_cancel=True)
        self.classified += 1
        if found not in VAGUE and found != type_of(view):
            self._around.meta.apply(partial(_keep, content, found))

    async def _forget_gone(self) -> None:
        """Once a day: rows of contents that are gone."""
        while True:
            await trio.sleep(FORGET_S)
            try:
                await self.forget_gone()
            except StratumError as error:
                log.warning("classes of contents that are gone stay for now: %s", error)

    async def forget_gone(self) -> None:
        """Let go of rows whose content is gone (M3)."""
        after = CONTENT_CLASS
        while rows := self._around.meta.read(partial(_rows, after)):
            await self._around.meta.room()
            self._around.meta.apply(partial(_forget, rows))
            after = rows[-1] + b"\0"
            await trio.lowlevel.checkpoint()


def _keep(content: int, found: str, txn: Txn) -> None:
    if users(txn, content):
        save(txn, content_class_key(content), found)


def _rows(after: bytes, txn: Txn) -> list[bytes]:
    return [key for key, _ in islice(txn.scan(after, successor(CONTENT_CLASS)), SLICE)]


def _forget(keys: list[bytes], txn: Txn) -> None:
    for key in keys:
        if not users(txn, id_of(key)):
            txn.delete(key)
