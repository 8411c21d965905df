"""How long publications take by now: when to begin one, when to ask for its commit, how long a close has to wait.

Room: stratum/engine. May import: nothing of ours. Pure: durations in, durations out, all in seconds.

A close promises that its file is durable within `promise`. Files rest for a part of it, so that many share the work;
the slower the machine, the shorter they rest. A machine that needs longer than the promise cannot be hurried: there
the close waits for what is missing. One slow moment is no slow machine: durations are averaged.
"""

WEIGHT = 0.2  # of the last duration in its average
SLACK = 0.2  # of the promise, for what averages do not tell
LONGEST_REST = 0.6  # of the promise


class Pace:
    """Averages of what was seen lately: of files of a `sort` (a small number, up to `sorts`), and of commits."""

    def __init__(self, promise: float, sorts: int) -> None:
        self.promise = promise
        self._staging = [0.0] * sorts
        self._commit = promise / 2  # until one was seen: as much as needs no close to wait

    def staged(self, seconds: float, sort: int) -> None:
        """A file took so long from being picked up to being published, though not durable."""
        self._staging[sort] += (seconds - self._staging[sort]) * WEIGHT

    def committed(self, seconds: float) -> None:
        """A commit took so long."""
        self._commit += (seconds - self._commit) * WEIGHT

    def rest(self, sort: int) -> float:
        """How long after its close a file may rest until it is picked up."""
        left = self.promise * (1 - SLACK) - self._expected(sort)
        return min(max(left, 0.0), self.promise * LONGEST_REST)

    def patience(self) -> float:
        """How long after the close of a published file its commit may be asked for."""
        return max(self.promise * (1 - SLACK) - self._commit, 0.0)

    def excess(self, sort: int) -> float:
        """By how much a file closed now would miss the promise; not above zero: it would not."""
        return self._expected(sort) - self.promise

    def _expected(self, sort: int) -> float:
        """From being picked up to being durable. Two commits: another may be under way when this one is due."""
        return self._staging[sort] + 2 * self._commit
