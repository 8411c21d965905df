"""Files that are written to again through the mount: what S3 would call overwriting.

Room: stratum/engine. May import: core, engine.tiering_subjects.
"""

from collections.abc import Callable

from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Inode, Upload
from stratum.core.txn import Txn
from stratum.engine.tiering_subjects import HINT, PIN


class Rewrites:
    """A consequence of writes (see engine.consequences). Inside the change: `tell` takes the content that took the
    place of another, `wished` one whose tags are other now, or whose copy wishes something."""

    def __init__(self, tell: Callable[[Txn, int], None], wished: Callable[[Txn, int], None]) -> None:
        self._tell, self._wished = tell, wished

    def written(self, txn: Txn, name: str, bucket: Bucket, view: ObjectView, event: str, principal: str) -> None:
        """A publication that is not the first of its inode."""
        if event.startswith("ObjectCreated") and view.inode.generation > 1 and view.inode.content:
            self._tell(txn, view.inode.content)
        elif event.startswith("ObjectTagging") and view.inode.content:
            self._wished(txn, view.inode.content)
        elif event.startswith("ObjectCreated:Copy") and view.inode.content and _wishes(view.inode):
            self._wished(txn, view.inode.content)  # it shares volumes that nobody may look at for weeks

    def removed(
        self, txn: Txn, name: str, bucket: Bucket, key: bytes, version: str, sequence: int, event: str, principal: str
    ) -> None:
        """See engine.consequences."""

    def begun(self, txn: Txn, name: str, upload_id: str, upload: Upload) -> None:
        """See engine.consequences."""

    def moved(self, txn: Txn, name: str) -> None:
        """See engine.consequences."""


def _wishes(inode: Inode) -> bool:
    return any(name in said for said in (inode.metadata, inode.tags) for name in (PIN, HINT))
