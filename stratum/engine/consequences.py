"""What follows from a write in the same change of the index: due times, events to be told.

Room: stratum/engine. May import: core.

A consequence runs inside the change, so it is there exactly if the write is; it must be a plain function of the
transaction (re-runnable, no await), and cheap where the bucket has nothing of its kind configured.
"""

from typing import Protocol

from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Upload
from stratum.core.txn import Txn


class Consequence(Protocol):
    """Something that a write entails."""

    def written(self, txn: Txn, name: str, bucket: Bucket, view: ObjectView, event: str, principal: str) -> None:
        """A version was written, or its attributes changed. `event` as in S3, `ObjectCreated:Put`; empty: none."""

    def removed(
        self, txn: Txn, name: str, bucket: Bucket, key: bytes, version: str, sequence: int, event: str, principal: str
    ) -> None:
        """A version went, or (`ObjectRemoved:DeleteMarkerCreated`) a delete marker came: `version` is its id."""

    def begun(self, txn: Txn, name: str, upload_id: str, upload: Upload) -> None:
        """A multipart upload was begun."""

    def moved(self, txn: Txn, name: str) -> None:
        """A directory of the bucket was renamed through the mount: any number of keys became others."""


class Consequences:
    """Every consequence, in the order they were added."""

    def __init__(self) -> None:
        self._all: list[Consequence] = []

    def add(self, consequence: Consequence) -> None:
        """Let it follow from every write from now on."""
        self._all.append(consequence)

    def written(self, txn: Txn, name: str, bucket: Bucket, view: ObjectView, event: str, principal: str) -> None:
        """See Consequence."""
        for each in self._all:
            each.written(txn, name, bucket, view, event, principal)

    def removed(
        self, txn: Txn, name: str, bucket: Bucket, key: bytes, version: str, sequence: int, event: str, principal: str
    ) -> None:
        """See Consequence."""
        for each in self._all:
            each.removed(txn, name, bucket, key, version, sequence, event, principal)

    def begun(self, txn: Txn, name: str, upload_id: str, upload: Upload) -> None:
        """See Consequence."""
        for each in self._all:
            each.begun(txn, name, upload_id, upload)

    def moved(self, txn: Txn, name: str) -> None:
        """See Consequence."""
        for each in self._all:
            each.moved(txn, name)
