"""One page of a listing, from anything that can yield keys in byte order from a given key on.

Room: stratum/core. May import: core.objects.

Invariants
    L1  What lies under a common prefix is not read: the source is asked anew for what follows it.
    L2  Keys and common prefixes count alike against the limit, and a page ends with the greatest of them; the next
        page begins above it. So pages of any sizes, joined, are the listing.
"""

from collections.abc import Callable, Iterator

from stratum.core.objects import ListPage, ListQuery, ObjectView

Source = Callable[[bytes], Iterator[tuple[bytes, ObjectView]]]
"""Yields (key, object) of every key not below the one given, in byte order."""


def list_page(source: Source, query: ListQuery) -> ListPage:
    """Return the first `query.limit` keys and common prefixes above `query.after`. Raises what the source raises."""
    objects: list[ObjectView] = []
    prefixes: list[bytes] = []
    last: bytes | None = None
    start = _first(query)
    while start is not None and query.limit > 0:
        at, start = start, None
        for key, view in source(at):
            if not key.startswith(query.prefix):
                break
            if len(objects) + len(prefixes) == query.limit:
                return ListPage(objects=tuple(objects), common_prefixes=tuple(prefixes), next_after=last)
            group = common_prefix(key, query.prefix, query.delimiter)
            last = key if group is None else group
            if group is not None:
                prefixes.append(group)
                start = after_prefix(group)
                break
            objects.append(view)
    return ListPage(objects=tuple(objects), common_prefixes=tuple(prefixes), next_after=None)


def common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """Return what a listing shows instead of `key`: up to the first delimiter behind the prefix; None: the key."""
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if at < 0 else key[: at + len(delimiter)]


def after_prefix(prefix: bytes) -> bytes | None:
    """Return the smallest key above all that begin with `prefix`, or None if there can be none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,)) if trimmed else None


def _first(query: ListQuery) -> bytes | None:
    """Where to begin: above `after`, and behind the common prefix that `after` is or is in."""
    if query.after < query.prefix or not query.after:
        return query.prefix
    if not query.after.startswith(query.prefix):
        return None  # above everything with the prefix
    group = common_prefix(query.after, query.prefix, query.delimiter)
    return query.after + b"\0" if group is None else after_prefix(group)
