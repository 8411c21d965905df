"""What mounted files will add to their buckets once they are published: so that a write over the quota fails itself.

Room: stratum/engine. May import: core, engine.quotas.

The exact word is spoken when a file is published (core/quotas.py). This is the same word earlier: what the open files
of a bucket have grown by is counted in memory, and what would go over is refused before it is taken. Nothing is looked
up in a store without any limit.
"""

from stratum.core.quotas import Amount, check_room
from stratum.core.records import Inode
from stratum.core.schema import inode_key
from stratum.core.txn import Txn, load
from stratum.engine.quotas import Quotas
from stratum.store.meta import Meta


class Growth:
    """The bytes by which unpublished files exceed their published versions, by bucket (root directory)."""

    def __init__(self, meta: Meta, quotas: Quotas) -> None:
        self._meta = meta
        self._quotas = quotas
        self._of_file: dict[int, tuple[int, int]] = {}  # inode -> bucket, bytes
        self._of_bucket: dict[int, int] = {}

    def grow(self, number: int, size: int, written: int) -> None:
        """File `number` is to be `size` bytes, of which at most `written` are more than what is published.

        Raises QuotaExceeded; then nothing is noted.
        """
        if not self._quotas.limited:
            return
        self._meta.read(lambda txn: self._grow(txn, number, size, written))

    def forget(self, number: int) -> None:
        """The file was published, or what was not is given up."""
        root, grown = self._of_file.pop(number, (0, 0))
        if grown:
            self._of_bucket[root] -= grown
            if not self._of_bucket[root]:
                del self._of_bucket[root]

    def _grow(self, txn: Txn, number: int, size: int, written: int) -> None:
        inode = load(txn, inode_key(number), Inode)
        if inode is None or not inode.bucket:
            return
        now = max(inode.size - inode.holes, 0)
        more = max(min(size, now + written) - now, 0)
        before = self._of_file.get(number, (0, 0))[1]
        if more > before:
            check_room(txn, inode.bucket, Amount(self._of_bucket.get(inode.bucket, 0) + more - before, 0))
        self.forget(number)
        if more:
            self._of_file[number] = (inode.bucket, more)
            self._of_bucket[inode.bucket] = self._of_bucket.get(inode.bucket, 0) + more
