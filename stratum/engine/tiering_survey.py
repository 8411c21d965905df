"""All that users of a volume wish, where so many share it that a look sees only some of them.

Room: stratum/engine. May import: core, store.meta, engine.{tiering_stock, tiering_subjects}. Looking is no access
(law 12).

A pack of small objects may have thousands of users. Whatever one of them, or its bucket, forbids must hold, so a volume
is surveyed before it is to be moved by the rule, and in the evening of a day on which somebody wished something else of
it. What was found is looked for again after SURVEY_DAYS: by then objects, and their wishes, may be gone.
"""

from collections.abc import Callable
from itertools import islice

from stratum.core.schema import VOLUME_USER, id_of
from stratum.core.tiers import HOLDER
from stratum.core.txn import Txn, successor
from stratum.engine.tiering_stock import Breath
from stratum.engine.tiering_subjects import USERS, Said, Subjects, together, views_of_content
from stratum.store.meta import Meta

SURVEY_DAYS = 8
SLICE = 20  # contents of one query: about a millisecond


class Surveys:
    """Looks at every user of a volume, a slice at a time."""

    def __init__(self, meta: Meta, subjects: Subjects, day: int, breath: Breath) -> None:
        self._meta, self._subjects, self._day, self._breath = meta, subjects, day, breath

    def is_old(self, volume: int) -> bool:
        """Was the volume surveyed too long ago?"""
        known = self._subjects.surveyed.get(volume)
        return known is not None and self._day - known.day > SURVEY_DAYS

    async def take(self, volume: int) -> bool:
        """Survey a volume; True: it is to be looked at again. False: a look sees all users, or it was done today."""
        known = self._subjects.surveyed.get(volume)
        if known is not None and known.day == self._day:
            return False
        begin = VOLUME_USER + volume.to_bytes(8, "big")
        after, stop, seen, found = begin, successor(begin), 0, None
        while keys := self._meta.read(_keys(after, stop)):
            seen += len(keys)
            if seen <= USERS and len(keys) < SLICE:
                return False
            found = self._meta.read(self._slice([id_of(key, 9) for key in keys], found))
            after = keys[-1] + b"\0"
            await self._breath.take()
        self._subjects.note_survey(volume, self._day, found)
        return found is not None

    def _slice(self, contents: list[int], found: Said | None) -> Callable[[Txn], Said | None]:
        def read(txn: Txn) -> Said | None:
            views = (view for each in contents if each < HOLDER for view in views_of_content(txn, each))
            said = [self._subjects.said_of(txn, view) for view in views]
            return together([*said, *([found] if found is not None else [])])

        return read


def _keys(after: bytes, stop: bytes) -> Callable[[Txn], list[bytes]]:
    return lambda txn: [key for key, _ in islice(txn.scan(after, stop), SLICE)]
