"""What an answer tells a browser about the bytes of an object, which anyone may have written.

Room: stratum/s3. May import: s3.http.

Addressed by path, all buckets and the console's pages share one origin. A stored page that ran there could act as the
console's; so browsers are told never to guess a type, and to run what has one that runs in a sandbox, which is an
origin of its own. A bucket with a host of its own (virtual-hosted style, web sites) is an origin of its own already.
"""

from stratum.s3.http import Headers

RUNS = ("text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml")
NOT_GUESSED = (b"x-content-type-options", b"nosniff")
SANDBOX = (b"content-security-policy", b"sandbox")


def guard_headers(content_type: str, *, own_host: bool) -> Headers:
    """The headers that keep a stored page away from the origin it is served from."""
    kind = content_type.partition(";")[0].strip().lower()
    runs = kind in RUNS or kind.endswith("+xml")
    return [NOT_GUESSED, SANDBOX] if runs and not own_host else [NOT_GUESSED]
