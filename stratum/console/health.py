"""/-/health: is the process alive and does it take writes? The one page that asks for no signature, so it says no more.

Room: stratum/console. May import: engine.
"""

from quart import Blueprint, Response

from stratum.engine.engine import Engine


def add_health(pages: Blueprint, engine: Engine) -> None:
    """Put the page on the blueprint."""

    @pages.get("/health")
    async def health() -> Response:
        healthy = engine.meta.failed is None
        return Response("ok\n" if healthy else "read-only\n", 200 if healthy else 503, mimetype="text/plain")
