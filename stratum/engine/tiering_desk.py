"""What the parts of deciding share: the terms of now, and where everything is.

Room: stratum/engine. May import: core, engine.{tiering_look, tiering_queue, tiering_subjects}.
"""

from collections.abc import Sequence
from typing import Protocol

from stratum.core.records import Volume
from stratum.core.tiering.prices import PriceBook
from stratum.core.tiering.settings import Tiering
from stratum.engine.tiering_look import Terms
from stratum.engine.tiering_numbers import Census
from stratum.engine.tiering_queue import Queue
from stratum.engine.tiering_subjects import Subjects


class Desk(Protocol):
    """The deciding service, as its parts see it."""

    settings: Tiering
    book: PriceBook
    subjects: Subjects
    queue: Queue
    active: bool
    census: Census

    @property
    def there(self) -> Sequence[bool]:
        """Which tiers exist."""

    @property
    def today(self) -> int:
        """The day it is."""

    def terms(self) -> Terms:
        """By what is decided now."""

    def words_of(self, volume: int) -> Sequence[str]:
        """What patterns say of it, for people."""

    def hurry(self) -> None:
        """There is something to do at once."""

    def record_of(self, volume: int) -> Volume | None:
        """A volume."""
