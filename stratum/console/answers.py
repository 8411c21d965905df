"""JSON answers of the console.

Room: stratum/console. May import: nothing of ours.
"""

import msgspec
from quart import Response


def answer(content: object, status_code: int = 200) -> Response:
    """A JSON answer that nobody keeps or guesses at."""
    response = Response(msgspec.json.encode(content) + b"\n", status_code, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
