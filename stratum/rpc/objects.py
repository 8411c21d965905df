"""The service Objects: each call is one S3 request (List: one for each page), so that every rule is the same.

Room: stratum/rpc. May import: rpc.{call, messages}.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote
from xml.etree.ElementTree import Element

import grpc
from defusedxml.ElementTree import ParseError, fromstring

from stratum.rpc.call import Answered, Ask, Asked, Exchange, Loop, Refused, incoming
from stratum.rpc.messages import message

XML_BYTES = 8 << 20
PAGE = 1000
META = "x-amz-meta-"
Deleted, Entry, Facts, GetPiece = message("Deleted"), message("Entry"), message("Facts"), message("GetPiece")

CODES = {
    304: grpc.StatusCode.FAILED_PRECONDITION,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.FAILED_PRECONDITION,
    409: grpc.StatusCode.ABORTED,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    416: grpc.StatusCode.OUT_OF_RANGE,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class Objects:
    """Handlers: (request or requests, context, access key) -> response or responses."""

    def __init__(self, loop: Loop, ask: Ask) -> None:
        self._loop = loop
        self._ask = ask

    def Put(self, requests: Iterator[Any], context: Any, access_key: str) -> Any:
        """Store an object from a stream."""
        first = next(requests, None)
        if first is None or not first.HasField("head"):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the first message must hold `head`")
        head = first.head
        length = {"content-length": str(head.size)} if head.size else {"transfer-encoding": "chunked"}
        headers = {
            **length,
            **_given({"content-type": head.content_type, "x-amz-storage-class": head.storage_class}),
            **{f"{META}{name}": value for name, value in head.metadata.items()},
            **_condition(head.condition),
        }
        asked = self._asked(access_key, context, "PUT", head.name, headers=headers, body=incoming(requests, first.data))
        with Exchange(self._loop, self._ask, asked, context) as exchange:
            _check(exchange)
        return self.Head(head.name, context, access_key)

    def Get(self, request: Any, context: Any, access_key: str) -> Iterator[Any]:
        """Stream an object, or a part of it."""
        headers = _given({"if-match": request.if_match and f'"{request.if_match}"'})
        if request.offset or request.length:
            last = request.offset + request.length - 1 if request.length else ""
            headers["range"] = f"bytes={request.offset}-{last}"
        asked = self._asked(access_key, context, "GET", request.name, headers=headers)
        with Exchange(self._loop, self._ask, asked, context) as exchange:
            _check(exchange)
            yield GetPiece(facts=_facts(exchange.answered.headers))
            for piece in exchange.pieces():
                yield GetPiece(data=bytes(piece))

    def Head(self, request: Any, context: Any, access_key: str) -> Any:
        """What is known of an object."""
        asked = self._asked(access_key, context, "HEAD", request)
        with Exchange(self._loop, self._ask, asked, context) as exchange:
            _check(exchange)
            return _facts(exchange.answered.headers)

    def List(self, request: Any, context: Any, access_key: str) -> Iterator[Any]:
        """Stream all keys in byte order, page after page."""
        left = request.limit or None
        token = ""
        while left is None or left > 0:
            query = {
                "list-type": "2",
                "encoding-type": "url",
                "max-keys": str(min(PAGE, left or PAGE)),
                "prefix": request.prefix,
                **_given({"delimiter": request.delimiter, "start-after": request.after, "continuation-token": token}),
            }
            asked = Asked(access_key=access_key, peer=context.peer(), method="GET", bucket=request.bucket, query=query)
            with Exchange(self._loop, self._ask, asked, context) as exchange:
                _check(exchange)
                page = _xml(exchange.whole(XML_BYTES))
            found = sorted(_entries(page), key=lambda entry: (entry.key or entry.prefix).encode())
            yield from found
            left = None if left is None else left - len(found)
            token = page.findtext("{*}NextContinuationToken") or ""
            if not token:
                return

    def Delete(self, request: Any, context: Any, access_key: str) -> Any:
        """Delete an object (or leave a marker), or one version for good."""
        with Exchange(self._loop, self._ask, self._asked(access_key, context, "DELETE", request), context) as exchange:
            _check(exchange)
            headers = exchange.answered.headers
            marker = headers.get("x-amz-delete-marker") == "true"
            return Deleted(version=headers.get("x-amz-version-id", ""), marker=marker)

    def Copy(self, request: Any, context: Any, access_key: str) -> Any:
        """Copy on the server; no byte moves."""
        source = quote(f"/{request.source.bucket}/{request.source.key}", safe="/-_.~")
        if request.source.version:
            source += f"?versionId={quote(request.source.version)}"
        headers = {"x-amz-copy-source": source, **_condition(request.condition)}
        return self._changed(access_key, context, request.target, headers=headers)

    def Rename(self, request: Any, context: Any, access_key: str) -> Any:
        """Rename inside a bucket; one change, no byte moves."""
        source = quote(getattr(request, "from"), safe="/-_.~")
        headers = {"x-amz-rename-source": source, **_condition(request.condition)}
        target = message("Name")(bucket=request.bucket, key=request.to)
        return self._changed(access_key, context, target, headers=headers, query={"renameObject": ""})

    def _changed(self, access_key: str, context: Any, name: Any, **more: Any) -> Any:
        with Exchange(
            self._loop, self._ask, self._asked(access_key, context, "PUT", name, **more), context
        ) as exchange:
            _check(exchange)
            exchange.whole(XML_BYTES)
        return self.Head(name, context, access_key)

    @staticmethod
    def _asked(
        access_key: str,
        context: Any,
        method: str,
        name: Any,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = b"",
    ) -> Asked:
        if not name.bucket or not name.key:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "a bucket and a key are needed")
        version = {"versionId": name.version} if name.version else {}
        return Asked(
            access_key=access_key,
            peer=context.peer(),
            method=method,
            bucket=name.bucket,
            key=name.key,
            query={**version, **(query or {})},
            headers=headers or {},
            body=body,
        )


def _check(exchange: Exchange) -> None:
    """Raise Refused unless it went well."""
    answered = exchange.answered
    if answered.status < 300:
        return
    code = CODES.get(answered.status, grpc.StatusCode.INVALID_ARGUMENT)
    raise Refused(code, _reason(answered, exchange.whole(XML_BYTES)))


def _reason(answered: Answered, body: bytes) -> str:
    if not body:
        return f"S3 would answer {answered.status}"
    told = _xml(body)
    return f"{told.findtext('Code')}: {told.findtext('Message')}"


def _xml(body: bytes) -> Element:
    try:
        return fromstring(body)  # type: ignore[no-any-return]
    except ParseError as error:
        raise Refused(grpc.StatusCode.INTERNAL, "the answer cannot be read") from error


def _entries(page: Element) -> Iterator[Any]:
    for found in page.iterfind("{*}Contents"):
        yield Entry(
            key=unquote(found.findtext("{*}Key") or ""),
            size=int(found.findtext("{*}Size") or 0),
            etag=(found.findtext("{*}ETag") or "").strip('"'),
            last_modified=found.findtext("{*}LastModified") or "",
        )
    for found in page.iterfind("{*}CommonPrefixes"):
        yield Entry(prefix=unquote(found.findtext("{*}Prefix") or ""))


def _facts(headers: Mapping[str, str]) -> Any:
    length = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "0")
    return Facts(
        etag=headers.get("etag", "").strip('"'),
        size=int(length),
        version=headers.get("x-amz-version-id", ""),
        content_type=headers.get("content-type", ""),
        last_modified=headers.get("last-modified", ""),
        metadata={name[len(META) :]: value for name, value in headers.items() if name.startswith(META)},
        tier=headers.get("x-stratum-tier", ""),
        tier_reason=headers.get("x-stratum-tier-reason", ""),
    )


def _condition(condition: Any) -> dict[str, str]:
    quoted = {"if-match": condition.if_match, "if-none-match": condition.if_none_match}
    return {name: value if value == "*" else f'"{value}"' for name, value in quoted.items() if value}


def _given(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value}
