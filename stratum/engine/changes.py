"""Tell whoever caches directory entries (the kernel, through the mount) what S3 just changed.

Room: stratum/engine. May import: core.namespace.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from stratum.core.namespace import Change

Listener = Callable[[Sequence[Change]], None]
CaughtUp = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Subscription:
    listener: Listener
    caught_up: CaughtUp


class Changes:
    """A list of listeners, called at once on the event loop, in order of subscription. A listener must not block."""

    def __init__(self) -> None:
        self._subscriptions: list[_Subscription] = []

    def subscribe(self, listener: Listener, caught_up: CaughtUp) -> None:
        """Call `listener` for each change from now on; `caught_up` returns when what it was told has taken effect."""
        self._subscriptions.append(_Subscription(listener, caught_up))

    def unsubscribe(self, listener: Listener) -> None:
        """Stop calling `listener`."""
        self._subscriptions = [each for each in self._subscriptions if each.listener != listener]

    def notify(self, changes: Sequence[Change]) -> None:
        """Tell every listener about entries that were added, replaced or removed over S3."""
        if changes:
            for each in tuple(self._subscriptions):
                each.listener(changes)

    async def taken_in(self) -> None:
        """Return when every listener has caught up: then no cache shows what was before the changes told so far."""
        for each in tuple(self._subscriptions):
            await each.caught_up()
