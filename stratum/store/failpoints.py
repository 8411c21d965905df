"""Named points before and after every disk call, where a test may look, fail, block or kill (law 11).

Room: stratum/store. May import: nothing.

A point is named `before {purpose}.{op}` or `after {purpose}.{op}`: purpose says what the bytes are (`shard`,
`journal`, `snapshot`, `identity` ...), op is the call (`create`, `open`, `mkdir`, `append`, `read`, `read_now`,
`fsync`, `rename`, `unlink`, `fsync_directory`, `list`; with purpose `disk` also `exists`, `size`, `space`).
`index.commit` stands for all that LMDB does in a commit. An `after` point is reached only if the call succeeded.
Without a hook a point costs one comparison: not even its name is made.
"""

import itertools
import os
from collections.abc import Callable

Hook = Callable[[str], None]

KILLED = 137  # the exit status of a process ended by SIGKILL, as a shell shows it

_hook: Hook | None = None


def set_hook(hook: Hook | None) -> None:
    """Call `hook(name)` at every point, from the thread that reaches it; None takes it away.

    The hook may raise: an OSError is treated as if the disk call itself had failed with it, anything else
    goes up to the caller unchanged.
    """
    global _hook
    _hook = hook


def reach(name: str) -> None:
    """Tell the hook, if there is one, that the point `name` is reached."""
    hook = _hook
    if hook is not None:
        hook(name)


def before(purpose: str, op: str) -> None:
    """Reach `before {purpose}.{op}`."""
    hook = _hook
    if hook is not None:
        hook(f"before {purpose}.{op}")


def after(purpose: str, op: str) -> None:
    """Reach `after {purpose}.{op}`."""
    hook = _hook
    if hook is not None:
        hook(f"after {purpose}.{op}")


def arm_from(text: str) -> None:
    """Kill the process, without any clean-up, when the point `name` is reached for the n-th time.

    `text` is `name` or `name:n`. Raises ValueError if n is not a positive number.
    """
    name, _, count = text.partition(":")
    wanted = int(count) if count else 1
    if wanted < 1:
        raise ValueError(f"a failpoint count begins at 1: {text!r}")
    reached = itertools.count(1)  # next() on it is atomic, and points are reached from many threads

    def kill(point: str) -> None:
        if point == name and next(reached) == wanted:
            os._exit(KILLED)

    set_hook(kill)
