"""POST of a form to a bucket: from its fields to the same call that a PUT makes, and the answer a browser wants.

Room: stratum/s3. May import: core.{checksums, objects, principals}, engine, s3.*.

Invariants
    U1  What a form asks for stands in its fields alone: a header of the request that means something to a PUT is
        refused or dropped, so nothing unsigned joins what the policy allowed.
    U2  The length of the file is held against the policy while it streams; too long ends the upload at once.

Source: docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import quote, urlencode, urlsplit

from stratum.core.principals import Principal
from stratum.engine.engine import Engine
from stratum.s3.call import UNSIGNED, Call, Signing
from stratum.s3.errors import S3Error
from stratum.s3.form import Form, read_form
from stratum.s3.form_policy import allowed_sizes, signer_of
from stratum.s3.headers import META, STORED, checked, mail_safe
from stratum.s3.http import Headers, Request, Response
from stratum.s3.object_write import put_object
from stratum.s3.payload import open_form_payload
from stratum.s3.policy_context import BY_FORM
from stratum.s3.routes import Op, parse_query, route
from stratum.s3.sub_resources import Level
from stratum.s3.xml import child_text, children, node, parse, render

# Fields that are headers of a PUT under the same name; `acl` and `tagging` have names of their own.
SERVED = (
    META,
    "x-amz-checksum-",
    "x-amz-grant-",
    "x-amz-object-lock-",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
)
SIGNATURE = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token")
OF_THE_REQUEST = (b"host", b"origin", b"referer", b"user-agent")  # headers that policies may look at (U1)
STATUS, REDIRECT = "success_action_status", "success_action_redirect"


async def form_call(
    engine: Engine, request: Request, *, now_s: int, principal_of: Callable[[str | None, str], Principal]
) -> Call:
    """The call that a form makes, its signature and policy verified at `now_s` (seconds since the epoch).

    `principal_of`: who an access key is; of None, who nobody is, or AccessDenied. Whether they may do it is still to be
    decided. Raises what `read_form`, `signer_of`, `allowed_sizes` raise.
    """
    found = route(request.method, request.raw_path, parse_query(request.raw_query), host_bucket=request.bucket)
    if found.op is not Op.POST_OBJECT:
        raise S3Error("InvalidRequest", "A form is posted to a bucket.")
    unsigned = [name.decode("latin-1") for name, _ in request.headers if name.startswith(b"x-amz-")]
    if unsigned:
        message = "There were headers present in the request which were not signed"
        raise S3Error("AccessDenied", message, HeadersNotSigned=", ".join(unsigned))
    form = await read_form(request)
    fields = form.filled()
    key = _key(fields)
    region = engine.settings.region
    token = fields.get("x-amz-security-token", "")
    signer = signer_of(fields, region=region, secret_of=partial(_secret_of, engine, token), now_s=now_s)
    sizes = allowed_sizes(fields, found.bucket, now_s)
    headers = headers_of(fields)
    kept = [pair for pair in request.headers if pair[0] in OF_THE_REQUEST]
    as_put = replace(request, headers=[*kept, *((name.encode(), value.encode()) for name, value in headers.items())])
    query = {name: fields[name] for name in (STATUS, REDIRECT) if name in fields}
    return Call(
        engine=engine,
        request=as_put,
        headers=as_put.header_map(),
        principal=principal_of(signer, token),
        signing=Signing(auth_type=BY_FORM) if signer is not None else UNSIGNED,
        route=replace(found, level=Level.OBJECT, key=key, query=query),
        payload=open_form_payload(_Within(form, sizes, engine.limits.part_bytes_max), headers),
    )


def _secret_of(engine: Engine, token: str, access_key: str) -> str:
    """The secret key; of temporary credentials, if there is a token. Raises NoSuchCredential, BadSession."""
    known = engine.credentials.secret_of
    return engine.sessions.secret_of(access_key, token) if token else known(access_key)


def _key(fields: Mapping[str, str]) -> bytes:
    if "key" not in fields:
        message = (
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields."
        )
        raise S3Error("InvalidArgument", message, ArgumentName="key", ArgumentValue="")
    if not fields["key"]:
        raise S3Error("InvalidArgument", "User key must have a length greater than 0.", ArgumentName="key")
    return fields["key"].encode()


def headers_of(fields: Mapping[str, str]) -> dict[str, str]:
    """The headers that a PUT of the same object would have. Raises InvalidArgument, MalformedXML, NotImplemented."""
    found: dict[str, str] = {}
    for name, value in fields.items():
        if name == "acl":
            found["x-amz-acl"] = value
        elif name == "tagging":
            found["x-amz-tagging"] = _tags(value)
        elif name in STORED or name == "content-md5" or name.startswith(SERVED):
            found[name] = mail_safe(value) if name.startswith(META) else value
        elif name.startswith("x-amz-") and name not in SIGNATURE:
            raise S3Error("NotImplemented", Field=name)
    return {name: checked(name, value) for name, value in found.items()}


def _tags(document: str) -> str:
    """The tags as the header of a PUT has them."""
    sets = children(parse(document.encode(), "Tagging"), "TagSet")
    if len(sets) != 1:
        raise S3Error("MalformedXML")
    pairs = [(child_text(tag, "Key"), child_text(tag, "Value")) for tag in children(sets[0], "Tag")]
    if any(key is None or value is None for key, value in pairs):
        raise S3Error("MalformedXML")
    return urlencode(pairs, quote_via=quote)


class _Within:
    """The file, as long as its size is one that is allowed (U2)."""

    def __init__(self, form: Form, sizes: tuple[int, int] | None, size_max: int) -> None:
        self._file = form.file
        self._least, most = sizes or (0, size_max)
        self._most, self._size = min(most, size_max), 0

    def __aiter__(self) -> "_Within":
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._file)
        except StopAsyncIteration:
            if self._size >= self._least:
                raise
            message = "Your proposed upload is smaller than the minimum allowed size"
            least = str(self._least)
            raise S3Error("EntityTooSmall", message, ProposedSize=str(self._size), MinSizeAllowed=least) from None
        self._size += len(piece)
        if self._size > self._most:
            message = "Your proposed upload exceeds the maximum allowed size"
            most = str(self._most)
            raise S3Error("EntityTooLarge", message, ProposedSize=str(self._size), MaxSizeAllowed=most)
        return piece


async def post_object(call: Call) -> Response:
    """POST /bucket with a form: what a PUT of the file would store. `call` comes from `form_call`."""
    if not call.key:
        message = "Bucket POST must be of the enclosure-type multipart/form-data"
        raise S3Error("PreconditionFailed", message, Condition=message)
    stored = await put_object(call)
    etag = next(value for name, value in stored.headers if name == b"etag")
    location = _location(call)
    headers = [*stored.headers, (b"location", location.encode())]
    redirect = call.query.get(REDIRECT, "")
    if _is_url(redirect):
        return Response(303, _redirected(headers, redirect, call, etag.decode()), b"")
    status = call.query.get(STATUS, "")
    if status == "201":
        told = {"Location": location, "Bucket": call.bucket, "Key": call.key.decode(), "ETag": etag.decode()}
        document = render(node("PostResponse", *(node(name, text) for name, text in told.items())), namespace="")
        return Response(201, [(b"content-type", b"application/xml"), *headers], document)
    return Response(200 if status == "200" else 204, headers, b"")


def _location(call: Call) -> str:
    host = call.request.header("host") or ""
    bucket = "" if call.request.bucket is not None else f"/{call.bucket}"
    return f"{call.request.scheme}://{checked('host', host)}{bucket}/{quote(call.key, safe='/~')}"


def _is_url(text: str) -> bool:
    """A place that a browser may be sent to; anything else counts as not given, as at AWS."""
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _redirected(headers: Headers, redirect: str, call: Call, etag: str) -> Headers:
    told = urlencode({"bucket": call.bucket, "key": call.key, "etag": etag}, quote_via=quote, safe="/")
    base, sharp, fragment = redirect.partition("#")
    target = f"{base}{'&' if '?' in base else '?'}{told}{sharp}{fragment}"
    return [pair for pair in headers if pair[0] != b"location"] + [(b"location", target.encode())]
