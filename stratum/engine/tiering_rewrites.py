"""Files that are written to again through the mount: what S3 would call overwriting.

Room: stratum/engine. May import: core.
"""

from collections.abc import Callable

from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Upload
from stratum.core.txn import Txn


class Rewrites:
    """A consequence of writes (see engine.consequences). Inside the change: `tell` takes the content that took the
    place of another, `wished` one whose tags are other now."""

    def __init__(self, tell: Callable[[Txn, int], None], wished: Callable[[Txn, int], None]) -> None:
        self._tell, self._wished = tell, wished

    def written(self, txn: Txn, name: str, bucket: Bucket, view: ObjectView, event: str, principal: str) -> None:
        """A publication that is not the first of its inode."""
        if event.startswith("ObjectCreated") and view.inode.generation > 1 and view.inode.content:
            self._tell(txn, view.inode.content)
        elif event.startswith("ObjectTagging") and view.inode.content:
            self._wished(txn, view.inode.content)

    def removed(
        self, txn: Txn, name: str, bucket: Bucket, key: bytes, version: str, sequence: int, event: str, principal: str
    ) -> None:
        """See engine.consequences."""

    def begun(self, txn: Txn, name: str, upload_id: str, upload: Upload) -> None:
        """See engine.consequences."""

    def moved(self, txn: Txn, name: str) -> None:
        """See engine.consequences."""
