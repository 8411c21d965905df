"""Tell whoever caches directory entries (the kernel, through the mount) what S3 just changed.

Room: stratum/engine. May import: core.namespace.
"""

from collections.abc import Callable, Sequence

from stratum.core.namespace import Change

Listener = Callable[[Sequence[Change]], None]


class Changes:
    """A list of listeners, called at once on the event loop, in order of subscription. A listener must not block."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` for each change from now on."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Stop calling `listener`."""
        self._listeners.remove(listener)

    def notify(self, changes: Sequence[Change]) -> None:
        """Tell every listener about entries that were added, replaced or removed over S3."""
        if changes:
            for listener in tuple(self._listeners):
                listener(changes)
