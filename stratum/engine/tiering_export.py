"""What the deciding service knows of reads, as a trace that `stratum replay` takes: page by page, for a door.

Room: stratum/engine. May import: core, engine.{heat, surroundings, tiering_desk, tiering_rows, tiering_stock}.

The unit is the volume, for that is what moves. Of the last eight days that are over, reads are exact; before, up to 32
days back, the evidence knows on which days a volume was read, and how much on average: those are marked as estimated.
Looking is no access (law 12).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stratum.core.tiering.blocks import block_key
from stratum.core.tiering.evidence import ACTIVE_DAYS, Evidence
from stratum.core.tiering.prices import TIERS
from stratum.core.tiers import stream_bytes
from stratum.core.txn import Txn
from stratum.engine.heat import stored_touch
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiering_desk import Desk
from stratum.engine.tiering_rows import Rows
from stratum.engine.tiering_stock import Breath
from stratum.engine.tiering_subjects import Classify

EXACT_DAYS = 8
VISITS = 50  # of a day, told one by one; beyond, each stands for several

Read = tuple[int, int, int, int, bool]
"""Day, visits, bytes, bytes of sweeps, estimated."""


@dataclass(slots=True)
class Exporting:
    """Reads the rows of one store."""

    around: Surroundings
    rows: Rows
    desk: Desk

    async def page(self, after: int, days: int, classify: Classify) -> dict[str, Any]:
        """Volumes with ids above `after` (-1: from the first), with their reads of the last `days` days that are over.

        `next`: to go on behind; null: that was all. `first`, `last`: the days that are covered.
        """
        last = self.rows.state.closed
        first = last - min(max(days, 1), ACTIVE_DAYS) + 1
        found: dict[str, Any] = {"first": first, "last": last, "next": None, "volumes": []}
        if not self.desk.active:
            return found
        breath = Breath()
        for block in self.rows.blocks(block_key(after + 1))[:1]:
            for volume in block.volumes():
                kept = block.get(volume)
                told = None if kept is None else self._volume(volume, kept[0], first, last, classify)
                if told is not None:
                    found["volumes"].append(told)
                await breath.take()
            found["next"] = int.from_bytes(block.key[1:], "big") & ((1 << 63) - 1)
        return found

    def _volume(
        self, volume: int, evidence: Evidence, first: int, last: int, classify: Classify
    ) -> dict[str, Any] | None:
        record = self.desk.record_of(volume)
        if record is None:
            return None

        def read(txn: Txn) -> tuple[Any, list[Read]]:
            subject = self.desk.subjects.of(txn, volume, record)
            return subject, list(_reads(txn, volume, evidence, stream_bytes(record), (first, last)))

        subject, reads = self.around.meta.read(read)
        view = subject.view
        name = f"{view.bucket}/{view.key.decode(errors='replace')}" if view is not None else "(nobody)/"
        return {
            "name": f"{name}#{volume:x}",
            "size": stream_bytes(record),
            "born": max(evidence.born, first),
            "type": classify(view) if view is not None else "",
            "tier": TIERS[subject.tier],
            "reads": reads,
        }


def _reads(txn: Txn, volume: int, evidence: Evidence, size: int, days: tuple[int, int]) -> Iterator[Read]:
    """What is known of the days, oldest first."""
    first, last = days
    usual = (evidence.visits / evidence.reads, evidence.gb_per_size / evidence.reads) if evidence.reads else (1.0, 1.0)
    for day in range(max(first, evidence.born), last + 1):
        if day > last - EXACT_DAYS:
            touch = stored_touch(txn, day, volume)
            if touch is not None and (touch.visits or touch.swept):
                yield day, touch.visits, touch.sent, touch.swept, False
        elif 0 <= evidence.counted - day < ACTIVE_DAYS and evidence.active >> (evidence.counted - day) & 1:
            yield day, max(1, round(usual[0])), int(min(usual[1], VISITS) * size), 0, True
