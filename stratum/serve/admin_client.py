"""Ask a running server: a signed request to /-/admin/*, and its JSON answer.

Room: stratum/serve. May import: engine.credentials. Blocking; for the command line.
"""

import hashlib
import hmac
import http.client
import json
import ssl
import time
from typing import Any

from stratum.engine.credentials import RootCredential

SERVICE, ALGORITHM = "s3", "AWS4-HMAC-SHA256"
TIMEOUT_SECONDS = 60


class Refused(Exception):
    """The server answered with an error; the message is the server's."""


class Unreachable(Exception):
    """There is no server at that address."""


def sign(
    method: str, host: str, path: str, body: bytes, credential: RootCredential, *, region: str, now: float
) -> dict[str, str]:
    """Return the headers that make the request a SigV4 signed one. `path` needs no escaping; no query; `now`: epoch.

    Source: AWS, "Create a signed AWS API request". All headers that are sent are signed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    scope = f"{stamp[:8]}/{region}/{SERVICE}/aws4_request"
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    signed = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"{method}\n{path}\n\n{lines}\n{signed}\n{digest}"
    to_sign = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + credential.secret_key.encode()
    for step in (*scope.split("/"), to_sign):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    grant = f"{ALGORITHM} Credential={credential.access_key}/{scope}, SignedHeaders={signed}, Signature={key.hex()}"
    return {**headers, "authorization": grant}


class AdminClient:
    """Requests to one server with the root credential."""

    def __init__(self, address: str, credential: RootCredential, region: str, certificate: str = "") -> None:
        """`certificate`: the file of exactly the one that the server must show; empty: plain HTTP."""
        self._certificate = certificate
        self._address = address
        self._credential = credential
        self._region = region

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request below /-/admin/, return the JSON answer. Raises Refused, Unreachable."""
        path = f"/-/admin/{path}"
        content = b"" if body is None else json.dumps(body).encode()
        headers = sign(method, self._address, path, content, self._credential, region=self._region, now=time.time())
        connection = self._connection()
        try:
            connection.request(method, path, content or None, headers)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no answer from {self._address}: {error}") from error
        finally:
            connection.close()
        return self._answer(response.status, raw)

    def _connection(self) -> http.client.HTTPConnection:
        if not self._certificate:
            return http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        context = ssl.create_default_context(cafile=self._certificate)
        # The server of this store shows this very certificate; the name in it is for the world outside.
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return http.client.HTTPSConnection(self._address, timeout=TIMEOUT_SECONDS, context=context)

    def _answer(self, status: int, raw: bytes) -> Any:
        try:
            answer = json.loads(raw)
        except ValueError:
            raise Refused(f"{self._address} answered {status}, but not as a Stratum server does") from None
        if status >= 400:
            raise Refused(f"{answer.get('error', status)}: {answer.get('message', '')}".rstrip(": "))
        return answer
