"""Identity providers: their keys, fetched when they are needed and kept for a while; tokens judged by them.

Room: stratum/engine. May import: core, store.fetch.

Invariants
    P1  Whoever sends tokens cannot make us ask a provider more often than every RETRY_SECONDS.
    P2  A provider that cannot be reached does not lock anybody out whose key is known: old keys hold for STALE_SECONDS.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import trio
from joserfc.jwk import KeySet

from stratum.core.config import OidcProvider
from stratum.core.errors import BadIdentity, NotDelivered, UnknownSigner
from stratum.core.web_identity import Identity, check_identity, issuer_of, keys_in

log = logging.getLogger(__name__)

FRESH_SECONDS, STALE_SECONDS, RETRY_SECONDS = 3600.0, 86_400.0, 30.0
DISCOVERY = "/.well-known/openid-configuration"  # openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig


class Getter(Protocol):
    """How documents are had."""

    async def get(self, url: str, *, allow_private: bool) -> bytes:
        """Raises NotDelivered."""


@dataclass(slots=True)
class _Known:
    """The keys of a provider, and when they were got and last asked for (trio's clock)."""

    keys: KeySet | None = None
    got: float = 0.0
    asked: float = float("-inf")
    asking: trio.Lock = field(default_factory=trio.Lock)


class WebIdentities:
    """Judges tokens of the providers that the settings name."""

    def __init__(self, providers: Sequence[OidcProvider], getter: Getter, now_ns: Callable[[], int]) -> None:
        self._providers = {each.issuer: each for each in providers}
        self.getter = getter
        self._now_ns = now_ns
        self._known = {each.name: _Known() for each in providers}

    async def verify(self, token: str) -> tuple[Identity, OidcProvider]:
        """What a token says, and whose it is. Raises BadIdentity, ExpiredIdentity, NotDelivered."""
        provider = self._providers.get(issuer_of(token))
        if provider is None:
            raise BadIdentity("no identity provider of that issuer is known here")
        known = self._known[provider.name]
        if known.keys is None or trio.current_time() - known.got > FRESH_SECONDS:
            await self._refresh(provider, known)
        try:
            return self._check(token, known, provider), provider
        except UnknownSigner:
            if not await self._refresh(provider, known):
                raise
        return self._check(token, known, provider), provider

    def _check(self, token: str, known: _Known, provider: OidcProvider) -> Identity:
        if known.keys is None or trio.current_time() - known.got > STALE_SECONDS:
            raise NotDelivered(f"the keys of {provider.name} are not at hand")
        return check_identity(token, known.keys, provider, self._now_ns() // 10**9)

    async def _refresh(self, provider: OidcProvider, known: _Known) -> bool:
        """Ask for the keys anew, unless that was just done (P1). Return whether they came."""
        before = known.got
        async with known.asking:
            if known.got != before:
                return True  # somebody else has just got them
            if trio.current_time() - known.asked < RETRY_SECONDS:
                return False
            known.asked = trio.current_time()
            try:
                known.keys = await self._fetch(provider)
            except (NotDelivered, BadIdentity) as error:
                log.warning("the keys of identity provider %s: %s", provider.name, error)
                return False
            known.got = trio.current_time()
            return True

    async def _fetch(self, provider: OidcProvider) -> KeySet:
        url = provider.jwks_url or await self._discover(provider)
        return keys_in(await self.getter.get(url, allow_private=provider.allow_private))

    async def _discover(self, provider: OidcProvider) -> str:
        """Where the keys are. Raises NotDelivered, BadIdentity."""
        place = provider.issuer.rstrip("/") + DISCOVERY
        body = await self.getter.get(place, allow_private=provider.allow_private)
        try:
            found = json.loads(body)
            issuer, url = found["issuer"], found["jwks_uri"]
            secure = urlsplit(provider.issuer).scheme != "https" or urlsplit(url).scheme == "https"
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadIdentity("its discovery document cannot be read") from error
        if issuer != provider.issuer or not secure or not isinstance(url, str):
            raise BadIdentity("its discovery document is that of another issuer, or leads away from https")
        return url
