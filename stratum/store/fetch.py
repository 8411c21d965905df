"""Get a small document of somebody the operator named: the keys of an identity provider.

Room: stratum/store. May import: core, store.webhooks.

Invariants
    F1  Addresses are judged as for webhooks (W2 there). Redirects are not followed, nor proxies of the environment.
    F2  An answer that is large, slow or not 200 is none.
"""

import ssl

import httpcore
import trio

from stratum.core.errors import NotDelivered
from stratum.store.webhooks import Judged

BYTES_MAX = 256 * 1024
WHOLE_SECONDS = 10.0


class Fetch:
    """Gets documents; one connection each, for they are few."""

    async def get(self, url: str, *, allow_private: bool) -> bytes:
        """The body at an http or https URL. Raises NotDelivered."""
        try:
            with trio.fail_after(WHOLE_SECONDS):
                return await self._get(url, allow_private=allow_private)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise NotDelivered(f"{url}: {type(error).__name__}") from error
        except (trio.TooSlowError, OSError, ValueError) as error:
            raise NotDelivered(f"{url}: {error or 'no answer in time'}") from error

    async def _get(self, url: str, *, allow_private: bool) -> bytes:
        headers = [(b"Accept", b"application/json"), (b"User-Agent", b"stratum"), (b"Connection", b"close")]
        trust, judged = ssl.create_default_context(), Judged(allow_private=allow_private)
        pool = httpcore.AsyncConnectionPool(ssl_context=trust, network_backend=judged)
        async with pool, pool.stream("GET", url, headers=headers) as answer:
            if answer.status != 200:
                raise OSError(f"answered {answer.status}")
            body = bytearray()
            async for piece in answer.aiter_stream():
                body += piece
                if len(body) > BYTES_MAX:
                    raise OSError("the answer is too large")
            return bytes(body)
