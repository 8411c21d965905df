"""Sign requests with a key of this store: a URL that may be handed on, and a request that the console passes to S3.

Room: stratum/s3. May import: s3.{claims, http, routes, sigv4}.

Source: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, sig-v4-header-based-auth.html.
"""

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import quote

from stratum.s3.claims import ALGORITHM, PRESIGNED_SECONDS_MAX, UNSIGNED_PAYLOAD, Claim
from stratum.s3.http import Headers, Request
from stratum.s3.routes import Query, parse_query
from stratum.s3.sigv4 import canonical_request, signing_key, text_to_sign

_ALSO_SIGNED = (b"host", b"content-md5")


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs, and for which region."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str

    def url(self, base: str, bucket: str, key: bytes, *, seconds: int, now_s: int, query: Query | None = None) -> str:
        """Return a URL that reads an object for `seconds` from now. `base`: scheme://host[:port] of the endpoint.

        Raises ValueError for a time that no such URL can have.
        """
        if not 1 <= seconds <= PRESIGNED_SECONDS_MAX:
            raise ValueError(f"a link is good for 1 to {PRESIGNED_SECONDS_MAX} seconds")
        host = base.partition("://")[2]
        path = quote(f"/{bucket}/".encode() + key, safe="/-_.~")
        claim = self._claim(now_s, signed=("host",), content_sha256=UNSIGNED_PAYLOAD, seconds=seconds)
        parameters = {
            **(query or {}),
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key}/{claim.scope}",
            "X-Amz-Date": claim.timestamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
        request = Request(method="GET", raw_path=path.encode(), headers=[(b"host", host.encode("ascii"))])
        signature = self._signature(claim, canonical_request(claim, request, parameters))
        pairs = "&".join(f"{quote(name, safe='-_.~')}={quote(text, safe='-_.~')}" for name, text in parameters.items())
        return f"{base}{path}?{pairs}&X-Amz-Signature={signature}"

    def headers(self, request: Request, *, now_s: int) -> Headers:
        """Return the headers of `request` with those that sign it, its body unsigned. Old ones of that kind go."""
        kept = [pair for pair in request.headers if pair[0] not in (b"authorization", b"x-amz-content-sha256")]
        kept = [pair for pair in kept if pair[0] != b"x-amz-date"]
        names = {name for name, _ in kept if name.startswith(b"x-amz-") or name in _ALSO_SIGNED}
        signed = sorted({"host", "x-amz-content-sha256", "x-amz-date", *(name.decode("latin-1") for name in names)})
        claim = self._claim(now_s, signed=tuple(signed), content_sha256=UNSIGNED_PAYLOAD)
        kept += [(b"x-amz-content-sha256", UNSIGNED_PAYLOAD.encode()), (b"x-amz-date", claim.timestamp.encode())]
        query = parse_query(request.raw_query)
        signature = self._signature(claim, canonical_request(claim, replace(request, headers=kept), query))
        grant = f"{ALGORITHM} Credential={self.access_key}/{claim.scope}, SignedHeaders={';'.join(signed)}, "
        return [*kept, (b"authorization", f"{grant}Signature={signature}".encode())]

    def _claim(self, now_s: int, *, signed: tuple[str, ...], content_sha256: str, seconds: int | None = None) -> Claim:
        stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        return Claim(
            access_key=self.access_key,
            date=stamp[:8],
            region=self.region,
            service="s3",
            signed_headers=signed,
            signature="",
            timestamp=stamp,
            time_s=now_s,
            content_sha256=content_sha256,
            expires_s=seconds,
        )

    def _signature(self, claim: Claim, canonical: str) -> str:
        text = text_to_sign(claim, hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest())
        key = signing_key(self.secret_key, claim.date, claim.region, claim.service)
        return hmac.digest(key, text.encode(), "sha256").hex()
