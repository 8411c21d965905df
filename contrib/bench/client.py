"""A lean S3 client for benchmarks: one connection, SigV4 with UNSIGNED-PAYLOAD, no SDK in the way."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse


class Client:
    """Path-style requests over one keep-alive connection."""

    def __init__(self, host: str, port: int, access: str, secret: str, region: str = "us-east-1") -> None:
        self.host, self.port, self.access, self.secret, self.region = host, port, access, secret, region
        self.connection = http.client.HTTPConnection(host, port, timeout=120)
        self._key_date, self._key = "", b""

    def _signing_key(self, date: str) -> bytes:
        if date != self._key_date:
            key = ("AWS4" + self.secret).encode()
            for word in (date, self.region, "s3", "aws4_request"):
                key = hmac.new(key, word.encode(), hashlib.sha256).digest()
            self._key_date, self._key = date, key
        return self._key

    def request(self, method: str, path: str, query: str = "", body: bytes = b"", read: bool = True, more=None):
        """Send one request, with headers `more` (not signed); return (status, body or response)."""
        now = datetime.datetime.now(datetime.UTC)
        stamp, date = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        host = f"{self.host}:{self.port}"
        path = urllib.parse.quote(path)
        canonical = (
            f"{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{stamp}\n\n"
            "host;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD"
        )
        scope = f"{date}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        signature = hmac.new(self._signing_key(date), text.encode(), hashlib.sha256).hexdigest()
        headers = {
            "x-amz-date": stamp,
            "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, "
            f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}",
        }
        headers |= more or {}
        if method in ("PUT", "POST"):
            headers["Content-Length"] = str(len(body))
        self.connection.request(method, path + ("?" + query if query else ""), body=body or None, headers=headers)
        response = self.connection.getresponse()
        return response.status, response.read() if read else response
