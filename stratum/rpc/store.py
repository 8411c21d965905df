"""The service Store: what the pages below /-/ tell, for the root credential.

Room: stratum/rpc. May import: rpc.{call, messages}.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stratum.rpc.call import Loop
from stratum.rpc.messages import message

Document = message("Document")

Pages = Mapping[str, Callable[..., Awaitable[str]]]
"""status(access key), explain(access key, bucket, key, version), move(..., tier, backend) -> JSON. Raise Refused."""


class Store:
    """Handlers: (request, context, access key) -> response."""

    def __init__(self, loop: Loop, pages: Pages) -> None:
        self._loop = loop
        self._pages = pages

    def Status(self, request: Any, context: Any, access_key: str) -> Any:
        """How the store is."""
        return Document(json=self._loop.run(self._pages["status"], access_key))

    def Explain(self, request: Any, context: Any, access_key: str) -> Any:
        """Why an object is where it is."""
        name = request
        return Document(json=self._loop.run(self._pages["explain"], access_key, name.bucket, name.key, name.version))

    def Move(self, request: Any, context: Any, access_key: str) -> Any:
        """Move an object to another tier."""
        name = request.name
        move = self._pages["move"]
        found = self._loop.run(move, access_key, name.bucket, name.key, name.version, request.tier, request.backend)
        return Document(json=found)
