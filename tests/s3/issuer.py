"""A small identity provider on loopback: a discovery document, published keys, and tokens signed with them.

Room: tests. May import: nothing of ours.
"""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jwt
from joserfc.jwk import RSAKey

AUDIENCE = "stratum"


class Issuer:
    """`url` is its issuer. `now` gives the time of its tokens, seconds since the epoch."""

    def __init__(self, now=time.time) -> None:
        self.now = now
        self.keys = [RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}, auto_kid=False)]
        self.asked: Counter[str] = Counter()
        self.up = True
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked[self.path] += 1
                found = issuer.documents().get(self.path) if issuer.up else None
                body = json.dumps(found).encode()
                self.send_response(503 if found is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/realm"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def documents(self) -> dict[str, object]:
        return {
            "/realm/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/realm/keys": {"keys": [key.as_dict(private=False) for key in self.keys]},
        }

    def claims(self, **more) -> dict[str, object]:
        """What a good token says, and `more`; None takes a claim away."""
        now = int(self.now())
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "dana", "exp": now + 600, "iat": now, "groups": ["editors"]}
        return {name: value for name, value in {**said, **more}.items() if value is not None}

    def token(self, *, key=None, header=None, **more) -> str:
        key = key or self.keys[-1]
        return jwt.encode({"alg": "RS256", "kid": key.kid, **(header or {})}, self.claims(**more), key, ["RS256"])

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
