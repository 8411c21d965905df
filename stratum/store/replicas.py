"""Buckets of a remote S3 service as targets of replication.

Room: stratum/store. May import: core, store.{backends, remote}. Imported only where a remote is configured.

The connection, its credentials and its judged addresses are those of a cold tier (store/remote.py B1 to B4).
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from stratum.core.config import ColdTier, Limits, ReplicationRemote
from stratum.core.errors import Invalid
from stratum.core.objects import ObjectView
from stratum.core.replication import HEADER, MARK
from stratum.store.backends import BackendDown, BackendRefuses, HeldMissing
from stratum.store.remote import RemoteBucket, cut

PART_BYTES = 16 << 20
WHOLE_BYTES = 16 << 20  # up to here in one request
PARTS_MAX = 10_000

_HEADERS = {
    "content-type": "ContentType",
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-language": "ContentLanguage",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
}
_NOT_NOW = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "RequestTimeTooSkewed")


class RefusedThere(Invalid):
    """The remote will not have it: an answer 4xx that says nothing of who asks."""


class RemoteBuckets(RemoteBucket):
    """See engine.replications.Remote. `run` must run."""

    def __init__(self, remote: ReplicationRemote, store_id: bytes, limits: Limits) -> None:
        line = ColdTier(
            name=remote.name,
            bucket="",
            endpoint_url=remote.endpoint_url,
            region=remote.region,
            access_key_ref=remote.access_key_ref,
            secret_key_ref=remote.secret_key_ref,
            addressing=remote.addressing,
            allow_private=remote.allow_private,
        )
        super().__init__(line, store_id, limits)
        self.sse = remote.sse

    def _judged(self, error: Any) -> Exception:
        judged = super()._judged(error)
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(error.response.get("Error", {}).get("Code", ""))
        plain = isinstance(judged, BackendDown) and not isinstance(judged, BackendRefuses)
        if plain and 400 <= status < 500 and status not in (408, 409, 429) and code not in _NOT_NOW:
            return RefusedThere(str(judged))
        return judged

    async def _connected(self, loop: Any) -> Any:
        client = await super()._connected(loop)
        client.meta.events.register("before-call.s3.DeleteObject", _say_replica, unique_id="stratum-replica")
        return client

    async def replicate(
        self,
        bucket: str,
        key: bytes,
        view: ObjectView,
        metadata: Mapping[str, str],
        storage_class: str,
        stream: Callable[[], AsyncGenerator[bytes, None]],
    ) -> None:
        """Have the version there; nothing, if what is there has the same mark."""
        named = {"Bucket": bucket, "Key": key.decode()}
        try:
            there = await self._ask(lambda client: client.head_object(**named))
        except HeldMissing:
            there = {}
        if there.get("Metadata", {}).get(MARK) == metadata[MARK]:
            return
        told = {**named, **self._told_of(view, metadata, storage_class)}
        if view.size <= WHOLE_BYTES:
            await self._send_whole(told, view, stream)
        else:
            await self._send_parts(named, told, view, stream)

    def _told_of(self, view: ObjectView, metadata: Mapping[str, str], storage_class: str) -> dict[str, Any]:
        inode = view.inode
        told: dict[str, Any] = {"Metadata": dict(metadata)}
        told |= {_HEADERS[name]: value for name, value in inode.headers.items() if name in _HEADERS}
        if inode.tags:
            told["Tagging"] = "&".join(f"{quote(name)}={quote(value)}" for name, value in inode.tags.items())
        if storage_class and storage_class != "STANDARD":
            told["StorageClass"] = storage_class
        if self.sse:
            told["ServerSideEncryption"] = self.sse
        return told

    async def _send_whole(
        self, told: Mapping[str, Any], view: ObjectView, stream: Callable[[], AsyncGenerator[bytes, None]]
    ) -> None:
        body = b"".join([piece async for piece in stream()])
        await self._ask(lambda client: client.put_object(Body=body, ChecksumAlgorithm="SHA256", **told))

    async def _send_parts(
        self,
        named: Mapping[str, Any],
        told: Mapping[str, Any],
        view: ObjectView,
        stream: Callable[[], AsyncGenerator[bytes, None]],
    ) -> None:
        size = max(PART_BYTES, -(-view.size // PARTS_MAX))
        made = await self._ask(lambda client: client.create_multipart_upload(ChecksumAlgorithm="SHA256", **told))
        upload = {**named, "UploadId": self._told(made, "UploadId")}
        try:
            parts: list[dict[str, Any]] = []
            async with aclosing(cut(stream(), size)) as pieces:
                async for body in pieces:
                    sent = {**upload, "PartNumber": len(parts) + 1, "Body": body, "ChecksumAlgorithm": "SHA256"}
                    answer = await self._ask(lambda client, sent=sent: client.upload_part(**sent))  # type: ignore[misc]
                    part = {"PartNumber": len(parts) + 1, "ETag": self._told(answer, "ETag")}
                    if answer.get("ChecksumSHA256"):
                        part["ChecksumSHA256"] = answer["ChecksumSHA256"]
                    parts.append(part)
            await self._ask(lambda client: client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}))
        except BaseException:
            await self._abort(upload)
            raise

    async def remove(self, bucket: str, key: bytes) -> None:
        """Have the key absent there: a delete marker, where the bucket has versioning."""
        named = {"Bucket": bucket, "Key": key.decode()}
        try:
            await self._ask(lambda client: client.head_object(**named))
        except HeldMissing:
            return

        await self._ask(lambda client: client.delete_object(**named))

    async def retag(self, bucket: str, key: bytes, mark: str, tags: Mapping[str, str]) -> None:
        """Have these tags on the object, if it is the replica with that mark."""
        named = {"Bucket": bucket, "Key": key.decode()}
        try:
            there = await self._ask(lambda client: client.head_object(**named))
        except HeldMissing:
            return
        if there.get("Metadata", {}).get(MARK) == mark:
            told = {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]}
            await self._ask(lambda client: client.put_object_tagging(**named, Tagging=told))


def _say_replica(params: dict[str, Any], **_: Any) -> None:
    """A delete that is replicated says so, so that a store like this one does not send it back."""
    params["headers"][HEADER] = "delete"
