"""The console's pages as one blueprint below /-/, and what becomes of their errors.

Room: stratum/console. May import: console.*, core.errors, engine.
"""

import logging
from collections.abc import Callable, Mapping

from quart import Blueprint, Quart, Response
from werkzeug.exceptions import HTTPException

from stratum.console.access import ANSWER_SECONDS, BODY_BYTES, BODY_SECONDS, Authorise, Denied
from stratum.console.admin import About, add_admin
from stratum.console.answers import answer
from stratum.console.health import add_health
from stratum.console.metrics import RequestCounts, add_metrics
from stratum.core.errors import Conflict, Invalid, NotFound, StratumError, Unavailable
from stratum.engine.engine import Engine

log = logging.getLogger(__name__)

STATUSES: dict[type[StratumError], int] = {
    NotFound: 404,
    Conflict: 409,
    Invalid: 400,
    Unavailable: 503,
    StratumError: 500,
}


def status_of(error: StratumError) -> int:
    """The HTTP status of an error: that of its nearest ancestor in STATUSES."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def add_console(
    app: Quart,
    engine: Engine,
    *,
    authorise: Authorise,
    settings: Mapping[str, object],
    about: About,
    token: str,
    counts: RequestCounts,
    tickets: Callable[[str], str] | None = None,
) -> None:
    """Register everything below /-/ on `app`, and bound what Quart itself would take in (S3 never gets that far)."""
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.config["BODY_TIMEOUT"] = BODY_SECONDS
    app.config["RESPONSE_TIMEOUT"] = ANSWER_SECONDS
    pages = Blueprint("console", __name__, url_prefix="/-")
    add_health(pages, engine)
    add_metrics(pages, engine, authorise, token, counts)
    add_admin(pages, engine, authorise, settings, about, tickets)
    app.register_blueprint(pages)
    _add_errors(app)


def _add_errors(app: Quart) -> None:
    @app.errorhandler(Denied)
    async def denied(error: Denied) -> Response:
        return _refusal("Denied", str(error), error.status)

    @app.errorhandler(StratumError)
    async def expected(error: StratumError) -> Response:
        what = str(error.args[0]) if error.args else ""  # further arguments are for other doors
        return _refusal(type(error).__name__, what, status_of(error))

    @app.errorhandler(HTTPException)
    async def protocol(error: HTTPException) -> Response:
        return _refusal(error.name, error.description or "", error.code or 500)

    @app.errorhandler(Exception)
    async def unexpected(error: Exception) -> Response:
        log.error("a page of the console failed", exc_info=error)
        return _refusal("InternalError", "see the server's log", 500)


def _refusal(name: str, message: str, status_code: int) -> Response:
    return answer({"error": name, "message": message}, status_code)
