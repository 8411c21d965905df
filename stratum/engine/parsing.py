"""Policies are parsed off the event loop where that takes longer than it may be held.

Room: stratum/engine. May import: core.
"""

import trio

from stratum.core.policy import AT_ONCE, Policy, parse_policy

KNOWN = 64  # large policies whose parsed form is surely still kept (core/policy_document.py keeps four times as many)

_known: dict[tuple[str, str], None] = {}  # those asked for longest ago first


async def parsed(text: str, bucket: str = "") -> Policy:
    """As core's `parse_policy`. Raises MalformedPolicy."""
    place = (text, bucket)
    if len(text) > AT_ONCE and place not in _known:
        await trio.to_thread.run_sync(parse_policy, text, bucket)
    policy = parse_policy(text, bucket)
    if len(text) > AT_ONCE:
        _known.pop(place, None)
        _known[place] = None
        if len(_known) > KNOWN:
            del _known[next(iter(_known))]
    return policy
