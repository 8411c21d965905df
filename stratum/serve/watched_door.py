"""The S3 door as the process sees it: every request has its id in the logs, is counted, and is timed.

Room: stratum/serve. May import: console.metrics, s3.{app, http}, serve.logs.
"""

import logging
import time

from stratum.console.metrics import RequestCounts
from stratum.s3.app import Door
from stratum.s3.http import Request, Response
from stratum.serve.logs import REQUEST_ID

log = logging.getLogger("stratum.requests")


class WatchedDoor:
    """Hands every request on."""

    def __init__(self, door: Door, counts: RequestCounts) -> None:
        self._door = door
        self._counts = counts

    async def handle(self, request: Request) -> Response:
        """Return the door's answer. What the body logs later, in the same task, carries the id too."""
        REQUEST_ID.set(request.request_id)
        begun = time.monotonic()
        response = await self._door.handle(request)
        seconds = time.monotonic() - begun
        self._counts.add(request.method, response.status, seconds)
        if log.isEnabledFor(logging.DEBUG):
            path = request.raw_path.decode("latin-1")  # without the query: it may hold a signature
            took = f"{seconds * 1000:.1f} ms"
            log.debug("%s %s %d in %s", request.method, path, response.status, took, extra={"peer": request.peer})
        return response
