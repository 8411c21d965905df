"""An hour that comes back, learnt over days, and a restart before the hour: is what it needs there before it asks?

Two reports are read at nine every morning, one through S3, one through the mount; two others, never. They rest on warm
disks by themselves. On the night after the third morning the process is ended; it must be up, and know, by eight.
"""

from dataclasses import dataclass, field

from tierdays_store import PRICES, Living

REPORTS = ("reports/endpoint", "reports/mount")
OTHERS = ("reports/old", "reports/older")
MORNINGS = (1, 2, 3)
# Leaving hot pays after six days here: hours are acted on where that takes a week at most.
PRICES_HERE = {**PRICES, "warm": {**PRICES["warm"], "retrieval_usd_per_gb": 1.0, "write_usd_per_gb": 0.1}}
ENDINGS = {"SIGTERM": (3, 20.0), "SIGKILL": (4, 3.0)}  # when; a kill forgets the hours of a day that is not over


@dataclass
class Seen:
    """What came of it."""

    ending: str
    code: int | None = None
    ready: float = 0.0  # seconds
    up_at: tuple[int, float] = (0, 0.0)
    early: dict[str, str] = field(default_factory=dict)  # key -> tier at 7:45
    then: dict[str, str] = field(default_factory=dict)  # and at 8:59
    done: dict[str, float] = field(default_factory=dict)  # key -> hour of the move
    told: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def live(store: Living, ending: str) -> Seen:
    """Five days."""
    seen = Seen(ending)
    for key in (*REPORTS, *OTHERS):
        store.put(key)
    for day in MORNINGS:
        store.wait(day, 9.2)
        _read(store, seen)
    day, hour = ENDINGS[ending]
    store.wait(day, hour)
    if ending == "SIGTERM":
        seen.code = store.served.stop()
    else:
        store.served.kill()
    seen.ready = store.start()
    seen.up_at = store.now
    morning = MORNINGS[-1] + 1
    store.wait(morning, 7.75)
    seen.early = {key: store.tier(key) for key in (*REPORTS, *OTHERS)}
    store.wait(morning, 8.98)
    seen.then = {key: store.tier(key) for key in (*REPORTS, *OTHERS)}
    store.wait(morning, 9.2)
    _read(store, seen)
    for key in REPORTS:
        part = store.part(key, by_command=True)
        seen.told[key] = next((each for each in part["evidence"]["wishes"] if "hour" in each), "**nothing**")
        peaks = [turn for turn in part["history"] if turn["reason"] == "PEAK" and turn["done"]]
        seen.done[key] = store.day_of(peaks[-1]["done"])[1] if peaks else -1.0
    _judge(seen, morning)
    return seen


def _read(store: Living, seen: Seen) -> None:
    if not (store.get(REPORTS[0]) and store.read_file(REPORTS[1])):
        seen.wrong.append(f"{seen.ending}: wrong bytes on day {store.now[0]}")


def _judge(seen: Seen, morning: int) -> None:
    if seen.up_at[0] > morning or (seen.up_at[0] == morning and seen.up_at[1] >= 8):
        seen.wrong.append(f"{seen.ending}: up on day {seen.up_at[0]} at {seen.up_at[1]:.1f}: too late to tell")
    for key in REPORTS:
        if (seen.early[key], seen.then[key]) != ("warm", "hot") or not 8 <= seen.done[key] < 9:
            seen.wrong.append(f"{seen.ending}: {key}: {seen.early[key]} at 7:45, {seen.then[key]} at 8:59")
    for key in OTHERS:
        if seen.then[key] != "warm":
            seen.wrong.append(f"{seen.ending}: {key} is {seen.then[key]}")
    if seen.ending == "SIGTERM" and seen.code:
        seen.wrong.append(f"SIGTERM: ended with {seen.code}")
