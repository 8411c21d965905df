"""Which bucket a host name means: `bucket.s3.example.org` as well as `s3.example.org/bucket`.

Room: stratum/s3. May import: core.{config, errors, names}, s3.http.

Invariants
    V1  Pure: what the client sent and the configured domains in, the bucket out. Host and path stay as they were
        sent, so the signature is verified over them.
    V2  What is not surely a bucket below a configured domain is path style: IP addresses, other domains, names that
        no bucket can have.
    V3  X-Forwarded-* is believed only from configured proxies, and only at this edge: no one behind reads it again.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from stratum.core.config import Settings
from stratum.core.errors import InvalidBucketName
from stratum.core.names import check_bucket_name
from stratum.s3.http import Request

_HOST = re.compile(r"([A-Za-z0-9._-]+?)\.?(?::[0-9]{1,5})?", re.ASCII)
_FORWARDED_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}", re.ASCII)


HOST_CHARACTERS = 255  # RFC 1035, 2.3.4


@lru_cache(maxsize=1024)
def bucket_of(host: str, domains: tuple[str, ...]) -> str | None:
    """The bucket that `host` (with or without a port, in any case) names below one of `domains`, or None.

    `domains`: lower case, without a port. The longest that fits counts, so a bucket's name may hold dots.
    """
    match = _HOST.fullmatch(host.strip()) if len(host) <= HOST_CHARACTERS else None
    if match is None:
        return None
    name = match[1].lower()
    fitting = [each for each in domains if name == each or name.endswith("." + each)]
    if not fitting or _address(name) is not None:
        return None
    bucket = name.removesuffix(max(fitting, key=len)).removesuffix(".")
    try:
        check_bucket_name(bucket)
    except InvalidBucketName:
        return None
    return bucket


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip().strip("[]"))
    except ValueError:
        return None


Network = IPv4Network | IPv6Network


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Addresses (`10.0.0.7`) and networks (`10.0.0.0/8`) as they are configured. Raises ValueError."""
    return tuple(ip_network(text, strict=False) for text in texts)


def seen_through(request: Request, proxies: Sequence[Network]) -> Request:
    """The request as the client sent it to the outermost proxy; unchanged unless its peer is one of `proxies` (V3)."""
    if not proxies or not _within(request.peer, proxies):
        return request
    host = (request.header("x-forwarded-host") or "").partition(",")[0].strip()
    headers = list(request.headers)
    if _FORWARDED_HOST.fullmatch(host):
        headers = [pair for pair in headers if pair[0] != b"host"] + [(b"host", host.encode())]
    scheme = (request.header("x-forwarded-proto") or "").rpartition(",")[2].strip().lower()
    return replace(
        request,
        headers=headers,
        peer=_client(request, proxies),
        scheme=scheme if scheme in ("http", "https") else request.scheme,
        tls_version="",  # that of the proxy's connection says nothing of the client's
    )


def _client(request: Request, proxies: Sequence[Network]) -> str:
    """The last address of X-Forwarded-For that is not a proxy of ours: what stands before it, the client made up."""
    for text in reversed((request.header("x-forwarded-for") or "").split(",")):
        if _address(text) is None:
            break
        if not _within(text, proxies):
            return str(_address(text))
    return request.peer


@dataclass(frozen=True, slots=True)
class Hosts:
    """How this server is reached.

    `domains`, `website_domains`: lower case, without ports; a host of both kinds is a web site. `proxies`: whose
    X-Forwarded-* is believed.
    """

    domains: tuple[str, ...] = ()
    website_domains: tuple[str, ...] = ()
    proxies: tuple[Network, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "Hosts":
        """As configured. Raises ValueError."""
        return cls(settings.domains, settings.website_domains, networks(settings.proxies))

    def arrived(self, request: Request) -> Request:
        """The request as the client sent it, with the bucket that its host names, if it does."""
        request = seen_through(request, self.proxies)
        host = request.header("host") or ""
        bucket = bucket_of(host, self.domains + self.website_domains)
        if bucket is None:
            return request
        return replace(request, bucket=bucket, website=bucket_of(host, self.website_domains) == bucket)


def _within(text: str, proxies: Sequence[Network]) -> bool:
    address = _address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and any(address in network for network in proxies)
