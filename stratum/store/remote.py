"""A bucket of a remote S3 service as a cold backend, through aioboto3 in an asyncio loop under trio.

Room: stratum/store. May import: core, store.{backends, webhooks}. Imported only where a cold tier is configured.

Invariants
    B1  Where to is the operator's word alone. Redirects are not followed, proxies of the environment are not used, and
        a name is connected to only at addresses that were judged: ones that are not public are refused unless
        `allow_private` (security.md, rule 17).
    B2  What is sent carries its MD5, so the service refuses what arrives damaged; its answer's ETag is checked where it
        can be (without KMS); `head` tells size and SHA-256 as they were sent.
    B3  Keys are by content, so putting again is no harm. Objects say which store put them there.
    B4  Secrets are read from their reference when a client is made, and are in no message.
"""

import asyncio
import base64
import errno
import hashlib
import ipaddress
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aioboto3
import trio
import trio_asyncio
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiohttp import ClientError as BrokenAnswer  # a body that ends early is none of botocore's errors
from aiohttp import ClientSession, TraceConfig
from aiohttp.abc import AbstractResolver, ResolveResult
from botocore.exceptions import BotoCoreError, ClientError

from stratum.core.config import ColdTier, Limits
from stratum.core.errors import StoreFull
from stratum.core.records import Held
from stratum.core.tiers import COLD, key_of
from stratum.store.backends import (
    BackendDown,
    BackendRefuses,
    Head,
    HeldMissing,
    HeldWrong,
    Listed,
    Stream,
)
from stratum.store.webhooks import read_secret, refuse_private

REFUSALS = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "NoSuchBucket"}
MISSING = {"NoSuchKey", "404", "NotFound"}
STORE, DIGEST = "stratum-store", "sha256"  # user metadata of what we put
PAGE = 1000

T = TypeVar("T")


class RemoteBucket:
    """See `Backend`. `run` must run."""

    tier = COLD

    def __init__(self, settings: ColdTier, store_id: bytes, limits: Limits) -> None:
        self.name = settings.name
        self._settings = settings
        self._store = store_id.hex()
        self._limits = limits
        self._loop: trio_asyncio.BaseTrioEventLoop | None = None
        self._client: Any = None
        self._refused = False
        self._ready = trio.Event()
        self._making = trio.Lock()

    # --- the loop that it lives in ------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled: the asyncio loop in which the client works. The first use connects."""
        async with trio_asyncio.open_loop() as loop:
            self._loop = loop
            self._ready.set()
            try:
                await trio.sleep_forever()
            finally:
                self._ready = trio.Event()
                self._loop = None
                with trio.CancelScope(shield=True), trio.move_on_after(5):
                    await self._close(loop)

    async def _close(self, loop: Any) -> None:
        client, self._client = self._client, None
        if client is not None:
            await loop.run_aio_coroutine(client.__aexit__(None, None, None))

    async def _ask(self, request: Callable[[Any], Awaitable[T]]) -> T:
        """Make a request in the loop. Raises what `_judged` makes of errors."""
        await self._ready.wait()
        loop = self._loop
        if loop is None:
            raise BackendDown(f"{self.name}: the store is closing")
        try:
            client = await self._connected(loop)
            return await loop.run_aio_coroutine(request(client))  # type: ignore[no-any-return]
        except ClientError as error:
            judged = self._judged(error)
            if isinstance(judged, BackendRefuses):
                self._refused = True  # the credentials may be others by now: they are read again
            raise judged from error
        except RuntimeError as error:  # aiohttp's for a connection that closed in the middle; or the loop is gone
            raise BackendDown(f"{self.name}: {error}") from error
        except (BotoCoreError, BrokenAnswer, OSError, TimeoutError, ValueError, KeyError) as error:
            inner = getattr(error, "kwargs", {}).get("error", "")  # of botocore, where a connection was not made
            raise BackendDown(f"{self.name}: {type(error).__name__}: {error} {inner}".rstrip()) from error

    async def _connected(self, loop: Any) -> Any:
        async with self._making:
            if self._refused:
                self._refused = False
                await self._close(loop)
            if self._client is None:
                made = self._make_client(*await self._secrets())
                self._client = await loop.run_aio_coroutine(made.__aenter__())
            return self._client

    async def _secrets(self) -> tuple[str, str]:
        def read() -> tuple[str, str]:
            return (
                read_secret(self._settings.access_key_ref).decode(),
                read_secret(self._settings.secret_key_ref).decode(),
            )

        try:
            return await trio.to_thread.run_sync(read)
        except (OSError, ValueError) as error:
            raise BackendRefuses(f"{self.name}: its credentials cannot be read: {error}") from error

    def _make_client(self, access_key: str, secret_key: str) -> Any:
        settings = self._settings
        session = aioboto3.Session(
            aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=settings.region
        )
        self._judge_literal()
        config = AioConfig(
            signature_version="s3v4",
            proxies={},
            connect_timeout=min(10.0, self._limits.cold_request_time),
            read_timeout=self._limits.cold_request_time,
            retries={"total_max_attempts": 1},  # ours: store/guarded.py
            max_pool_connections=self._limits.cold_requests,
            s3={"addressing_style": settings.addressing},
            request_checksum_calculation="when_required",  # services that are not AWS know MD5
            response_checksum_validation="when_required",
            http_session_cls=_Unredirected,
            connector_args={"resolver": _Judged(allow_private=settings.allow_private)},
        )
        return session.client("s3", endpoint_url=settings.endpoint_url or None, config=config)

    def _judge_literal(self) -> None:
        """An endpoint that is an address is not resolved by anybody."""
        host = urlsplit(self._settings.endpoint_url).hostname or ""
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return
        if not self._settings.allow_private:
            refuse_private(host, [host])

    def _judged(self, error: ClientError) -> Exception:
        """The error of our tree for an answer."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        words = f"{self.name}: {error.operation_name}: {status} {code}"
        if code == "NoSuchBucket" or code in REFUSALS or status in (401, 403):
            return BackendRefuses(words)
        if code in MISSING or status == 404:
            return HeldMissing(words)
        if status == 507:
            return StoreFull(words)
        return BackendDown(words)

    # --- the verbs ----------------------------------------------------------------------------------------

    def plan(self, size: int, sha256: bytes) -> Held:
        """See Backend."""
        return Held(self.name, key_of(self._settings.key_prefix, sha256), size, sha256)

    async def put(self, stream: Stream, planned: Held) -> Held:
        """See Backend."""
        digest = hashlib.sha256()
        if planned.size < self._settings.multipart_threshold_bytes:
            body = await _whole(stream, planned.size)
            digest.update(body)
            self._check(planned, len(body), digest.digest())
            await self._put_whole(planned, body)
        else:
            await self._put_parts(stream, planned, digest)
        if self._settings.verify == "read":
            await self._read_back(planned)
        return planned

    def _check(self, planned: Held, size: int, sha256: bytes) -> None:
        if (size, sha256) != (planned.size, planned.sha256):
            raise HeldWrong(f"{self.name}: {size} bytes came that are not those that were planned")

    def _described(self, held: Held) -> dict[str, Any]:
        made: dict[str, Any] = {
            "Metadata": {STORE: self._store, DIGEST: held.sha256.hex()},
            "ContentType": "application/octet-stream",
        }
        if self._settings.storage_class:
            made["StorageClass"] = self._settings.storage_class
        if self._settings.sse:
            made["ServerSideEncryption"] = self._settings.sse
        return made

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._settings.bucket, "Key": key}

    async def _put_whole(self, held: Held, body: bytes) -> None:
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        named = {**self._named(held.key), **self._described(held), "ContentMD5": base64.b64encode(md5).decode()}
        answer = await self._ask(lambda client: client.put_object(Body=body, **named))
        self._check_etag(answer, md5)

    def _check_etag(self, answer: Mapping[str, Any], md5: bytes) -> None:
        etag = str(answer.get("ETag", "")).strip('"')
        plain = self._settings.sse in ("", "AES256") and "kms" not in str(answer.get("ServerSideEncryption", ""))
        if plain and len(etag) == 32 and etag.lower() != md5.hex():
            raise HeldWrong(f"{self.name}: the ETag is not that of what was sent")

    async def _put_parts(self, stream: Stream, held: Held, digest: "hashlib._Hash") -> None:
        named = self._named(held.key)
        made = await self._ask(lambda client: client.create_multipart_upload(**named, **self._described(held)))
        upload = {**named, "UploadId": self._told(made, "UploadId")}
        try:
            parts = [part async for part in self._parts(stream, upload, digest)]
            size = sum(part.pop("Size") for part in parts)
            self._check(held, size, digest.digest())
            await self._ask(lambda client: client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}))
        except BaseException:
            await self._abort(upload)
            raise

    async def _parts(
        self, stream: Stream, upload: Mapping[str, str], digest: "hashlib._Hash"
    ) -> AsyncGenerator[dict[str, Any], None]:
        number = 0
        async with aclosing(cut(stream(), self._settings.multipart_chunk_bytes)) as pieces:
            async for body in pieces:
                number += 1
                digest.update(body)
                md5 = hashlib.md5(body, usedforsecurity=False).digest()
                sent = {**upload, "PartNumber": number, "ContentMD5": base64.b64encode(md5).decode(), "Body": body}
                answer = await self._ask(lambda client, sent=sent: client.upload_part(**sent))  # type: ignore[misc]
                self._check_etag(answer, md5)
                yield {"PartNumber": number, "ETag": self._told(answer, "ETag"), "Size": len(body)}

    def _told(self, answer: Mapping[str, Any], name: str) -> str:
        """What an answer has to tell."""
        if not answer.get(name):
            raise BackendDown(f"{self.name}: an answer without {name}")
        return str(answer[name])

    async def _abort(self, upload: Mapping[str, str]) -> None:
        """Parts of an upload that came to nothing cost money. What cannot be aborted now is found by `page`."""
        with trio.CancelScope(shield=True), trio.move_on_after(self._limits.cold_request_time):
            try:
                await self._ask(lambda client: client.abort_multipart_upload(**upload))
            except (BackendDown, HeldMissing):
                return

    async def _read_back(self, held: Held) -> None:
        digest = hashlib.sha256()
        step = self._settings.multipart_chunk_bytes
        for at in range(0, held.size, step):
            digest.update(await self.get(held, at, min(at + step, held.size)))
        if digest.digest() != held.sha256:
            raise HeldWrong(f"{self.name}: what is read back is not what was sent")

    async def get(self, held: Held, start: int, stop: int) -> bytes:
        """See Backend."""
        if start >= stop:
            return b""

        async def request(client: Any) -> bytes:
            answer = await client.get_object(**self._named(held.key), Range=f"bytes={start}-{stop - 1}")
            async with answer["Body"] as body:
                # by what it says of the bytes, not by 206: there are services that answer a range with 200
                wanted = f"bytes {start}-{stop - 1}/"
                if answer["ContentLength"] != stop - start or not answer.get("ContentRange", wanted).startswith(wanted):
                    raise ValueError("something else came than the range that was asked for")
                return bytes(await body.read())

        return await self._ask(request)

    async def head(self, held: Held) -> Head | None:
        """See Backend."""
        try:
            found = await self._ask(lambda client: client.head_object(**self._named(held.key)))
        except HeldMissing:
            return None
        digest = str(found.get("Metadata", {}).get(DIGEST, ""))
        return Head(int(found["ContentLength"]), bytes.fromhex(digest) if len(digest) == 64 else b"")

    async def delete(self, held: Held) -> None:
        """See Backend. Uploads of that key that were never completed go, too."""
        await self._abort_old(held.key)
        try:
            await self._ask(lambda client: client.delete_object(**self._named(held.key)))
        except HeldMissing:
            return

    async def _abort_old(self, key: str) -> None:
        try:
            found = await self._ask(
                lambda client: client.list_multipart_uploads(Bucket=self._settings.bucket, Prefix=key)
            )
        except BackendRefuses:
            raise
        except (BackendDown, HeldMissing):
            return  # not every service can list them
        for each in found.get("Uploads", ()):
            if each["Key"] == key:
                await self._abort({**self._named(key), "UploadId": each["UploadId"]})

    async def health(self) -> None:
        """See Backend."""
        try:
            await self._ask(lambda client: client.list_objects_v2(Bucket=self._settings.bucket, MaxKeys=1))
        except HeldMissing as error:
            raise BackendRefuses(str(error)) from error

    async def page(self, after: str) -> list[Listed]:
        """See Sweepable."""
        prefix = key_of(self._settings.key_prefix, bytes(32))[: -len("00/00/") - 64]
        asked = {"Bucket": self._settings.bucket, "Prefix": prefix, "MaxKeys": PAGE, "StartAfter": after}
        found = await self._ask(lambda client: client.list_objects_v2(**asked))
        return [Listed(each["Key"], each["LastModified"].timestamp()) for each in found.get("Contents", ())]

    async def is_ours(self, key: str) -> bool:
        """See Sweepable."""
        try:
            found = await self._ask(lambda client: client.head_object(**self._named(key)))
        except HeldMissing:
            return False
        return bool(found.get("Metadata", {}).get(STORE) == self._store)


class _Unredirected(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's own session lets aiohttp follow redirects, also to addresses that nobody judged (B1)."""

    async def _get_session(self, proxy_url: str | None) -> ClientSession:
        if proxy_url not in self._sessions:
            traces = TraceConfig()
            traces.on_request_redirect.append(_refuse_redirect)
            session = ClientSession(
                connector=self._create_connector(proxy_url),
                timeout=self._timeout,
                skip_auto_headers={"CONTENT-TYPE"},
                auto_decompress=False,
                trust_env=False,
                trace_configs=[traces],
            )
            self._sessions[proxy_url] = await self._exit_stack.enter_async_context(session)
        return self._sessions[proxy_url]  # type: ignore[no-any-return]


async def _refuse_redirect(session: object, context: object, params: object) -> None:
    raise OSError("redirects are not followed")


class _Judged(AbstractResolver):
    """Resolves names, and refuses addresses (B1)."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """As aiohttp has it. Raises OSError for addresses that are refused."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        if not self._allow_private:
            try:
                refuse_private(host, [str(each[4][0]) for each in found])
            except OSError as error:
                raise OSError(errno.EACCES, str(error)) from error  # aiohttp shows only what has a number
        return [
            ResolveResult(hostname=host, host=str(to[0]), port=int(to[1]), family=kind, proto=proto, flags=0)
            for kind, _, proto, _, to in found
        ]

    async def close(self) -> None:
        """As aiohttp has it."""


async def _whole(stream: Stream, size: int) -> bytes:
    pieces: list[bytes] = []
    taken = 0
    async with aclosing(stream()) as source:
        async for piece in source:
            pieces.append(piece)
            taken += len(piece)
            if taken > size:
                raise HeldWrong(f"more than the {size} bytes that were planned came")
    return b"".join(pieces)


async def cut(source: AsyncGenerator[bytes, None], size: int) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of `size`, but the last."""
    async with aclosing(source):
        held = bytearray()
        async for piece in source:
            held += piece
            while len(held) >= size:
                yield bytes(held[:size])
                del held[:size]
        if held:
            yield bytes(held)
