"""The S3 door: a request in, an answer out, whatever happens.

Room: stratum/s3. May import: core, engine, s3.*.

The order is: verify the signature, name the operation, ask whether it may be done, run the handler. The one place
where errors become answers.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from functools import partial

from stratum.core.errors import StratumError
from stratum.core.principals import ANONYMOUS, Principal
from stratum.engine.engine import Engine
from stratum.s3 import (
    access_control,
    access_log_configuration,
    attributes,
    bucket_encryption,
    bucket_policy,
    cors,
    form_upload,
    intelligent_tiering,
    inventory,
    lifecycle,
    listing,
    multipart,
    notification,
    object_lock,
    object_read,
    object_write,
    ownership,
    payment,
    public_access,
    rename,
    replication,
    service,
    storage_class,
    sts,
    tagging,
    versioning,
    website,
)
from stratum.s3.access_log import Exchange, logged
from stratum.s3.authorisation import authorise, check_request_tags, refusal_instead
from stratum.s3.call import UNSIGNED, Call, Handler, Signing
from stratum.s3.errors import S3Error, answer_for, error_response
from stratum.s3.form import is_form
from stratum.s3.form_upload import form_call
from stratum.s3.hosts import Hosts
from stratum.s3.http import Request, Response
from stratum.s3.long_keys import refuse_long_keys
from stratum.s3.payload import open_payload
from stratum.s3.policy_context import BY_HEADER, BY_QUERY
from stratum.s3.routes import Op, Route, parse_query, route
from stratum.s3.sigv4 import Verified, Verifier
from stratum.s3.unserved import refuse_unserved
from stratum.s3.website_serving import serve_website

log = logging.getLogger(__name__)

HANDLERS: Mapping[Op, Handler] = {
    Op.LIST_BUCKETS: service.list_buckets,
    Op.CREATE_BUCKET: service.create_bucket,
    Op.DELETE_BUCKET: service.delete_bucket,
    Op.HEAD_BUCKET: service.head_bucket,
    Op.GET_BUCKET_LOCATION: service.get_bucket_location,
    Op.LIST_OBJECTS: listing.list_objects_v1,
    Op.LIST_OBJECTS_V2: listing.list_objects_v2,
    Op.LIST_OBJECT_VERSIONS: versioning.list_object_versions,
    Op.LIST_UPLOADS: multipart.list_uploads,
    Op.GET_BUCKET_VERSIONING: versioning.get_bucket_versioning,
    Op.PUT_BUCKET_VERSIONING: versioning.put_bucket_versioning,
    Op.DELETE_OBJECTS: object_write.delete_objects,
    Op.GET_BUCKET_ACL: access_control.get_bucket_acl,
    Op.PUT_BUCKET_ACL: access_control.put_bucket_acl,
    Op.GET_BUCKET_OWNERSHIP: ownership.get_bucket_ownership,
    Op.PUT_BUCKET_OWNERSHIP: ownership.put_bucket_ownership,
    Op.DELETE_BUCKET_OWNERSHIP: ownership.delete_bucket_ownership,
    Op.GET_OBJECT: object_read.get_object,
    Op.HEAD_OBJECT: object_read.head_object,
    Op.PUT_OBJECT: object_write.put_object,
    Op.COPY_OBJECT: object_write.copy_object,
    Op.DELETE_OBJECT: object_write.delete_object,
    Op.GET_OBJECT_ATTRIBUTES: attributes.get_object_attributes,
    Op.GET_OBJECT_ACL: access_control.get_object_acl,
    Op.PUT_OBJECT_ACL: access_control.put_object_acl,
    Op.CREATE_UPLOAD: multipart.create_upload,
    Op.UPLOAD_PART: multipart.upload_part,
    Op.UPLOAD_PART_COPY: multipart.upload_part_copy,
    Op.COMPLETE_UPLOAD: multipart.complete_upload,
    Op.ABORT_UPLOAD: multipart.abort_upload,
    Op.LIST_PARTS: multipart.list_parts,
    Op.POST_OBJECT: form_upload.post_object,
    Op.GET_BUCKET_WEBSITE: website.get_bucket_website,
    Op.PUT_BUCKET_WEBSITE: website.put_bucket_website,
    Op.DELETE_BUCKET_WEBSITE: website.delete_bucket_website,
    Op.GET_REQUEST_PAYMENT: payment.get_request_payment,
    Op.PUT_REQUEST_PAYMENT: payment.put_request_payment,
    Op.GET_BUCKET_CORS: cors.get_bucket_cors,
    Op.PUT_BUCKET_CORS: cors.put_bucket_cors,
    Op.DELETE_BUCKET_CORS: cors.delete_bucket_cors,
    Op.GET_BUCKET_POLICY: bucket_policy.get_bucket_policy,
    Op.PUT_BUCKET_POLICY: bucket_policy.put_bucket_policy,
    Op.DELETE_BUCKET_POLICY: bucket_policy.delete_bucket_policy,
    Op.GET_BUCKET_POLICY_STATUS: bucket_policy.get_bucket_policy_status,
    Op.GET_PUBLIC_ACCESS_BLOCK: public_access.get_public_access_block,
    Op.PUT_PUBLIC_ACCESS_BLOCK: public_access.put_public_access_block,
    Op.DELETE_PUBLIC_ACCESS_BLOCK: public_access.delete_public_access_block,
    Op.GET_BUCKET_TAGGING: tagging.get_bucket_tagging,
    Op.PUT_BUCKET_TAGGING: tagging.put_bucket_tagging,
    Op.DELETE_BUCKET_TAGGING: tagging.delete_bucket_tagging,
    Op.GET_OBJECT_TAGGING: tagging.get_object_tagging,
    Op.PUT_OBJECT_TAGGING: tagging.put_object_tagging,
    Op.DELETE_OBJECT_TAGGING: tagging.delete_object_tagging,
    Op.GET_OBJECT_LOCK_CONFIGURATION: object_lock.get_object_lock_configuration,
    Op.PUT_OBJECT_LOCK_CONFIGURATION: object_lock.put_object_lock_configuration,
    Op.GET_OBJECT_RETENTION: object_lock.get_object_retention,
    Op.PUT_OBJECT_RETENTION: object_lock.put_object_retention,
    Op.GET_OBJECT_LEGAL_HOLD: object_lock.get_object_legal_hold,
    Op.PUT_OBJECT_LEGAL_HOLD: object_lock.put_object_legal_hold,
    Op.GET_INTELLIGENT_TIERING: intelligent_tiering.get_intelligent_tiering,
    Op.PUT_INTELLIGENT_TIERING: intelligent_tiering.put_intelligent_tiering,
    Op.DELETE_INTELLIGENT_TIERING: intelligent_tiering.delete_intelligent_tiering,
    Op.RESTORE_OBJECT: storage_class.restore_object,
    Op.RENAME_OBJECT: rename.rename_object,
    Op.GET_BUCKET_ENCRYPTION: bucket_encryption.get_bucket_encryption,
    Op.PUT_BUCKET_ENCRYPTION: bucket_encryption.put_bucket_encryption,
    Op.DELETE_BUCKET_ENCRYPTION: bucket_encryption.delete_bucket_encryption,
    Op.GET_BUCKET_LIFECYCLE: lifecycle.get_bucket_lifecycle,
    Op.PUT_BUCKET_LIFECYCLE: lifecycle.put_bucket_lifecycle,
    Op.DELETE_BUCKET_LIFECYCLE: lifecycle.delete_bucket_lifecycle,
    Op.GET_BUCKET_NOTIFICATION: notification.get_bucket_notification,
    Op.PUT_BUCKET_NOTIFICATION: notification.put_bucket_notification,
    Op.GET_BUCKET_LOGGING: access_log_configuration.get_bucket_logging,
    Op.PUT_BUCKET_LOGGING: access_log_configuration.put_bucket_logging,
    Op.GET_INVENTORY: inventory.get_inventory,
    Op.PUT_INVENTORY: inventory.put_inventory,
    Op.DELETE_INVENTORY: inventory.delete_inventory,
    Op.GET_BUCKET_REPLICATION: replication.get_bucket_replication,
    Op.PUT_BUCKET_REPLICATION: replication.put_bucket_replication,
    Op.DELETE_BUCKET_REPLICATION: replication.delete_bucket_replication,
    Op.GET_UNSET: service.get_unset,
    Op.DELETE_UNSET: service.delete_unset,
}

_CALL: ContextVar[Call | None] = ContextVar("call", default=None)  # of the request under way in this task
NO_DEFAULT_CHECKSUM = {Op.COMPLETE_UPLOAD, Op.DELETE_OBJECTS, Op.CREATE_BUCKET}


def _signing(verified: Verified) -> Signing:
    if not verified.access_key:
        return UNSIGNED
    more = {"s3:signatureversion": ("AWS",)} if verified.old else {}
    auth_type = BY_QUERY if verified.presigned else BY_HEADER
    return Signing(auth_type=auth_type, signed_s=verified.signed_s, more=more)


class S3Door:
    """Answers S3 requests for one engine."""

    def __init__(self, engine: Engine, *, now_s: Callable[[], int]) -> None:
        """`now_s`: wall clock, whole seconds since the epoch; signatures are judged by it."""
        self._engine = engine
        self._now_s = now_s
        sessions, known = engine.sessions.secret_of, engine.credentials.secret_of
        self._verifier = Verifier(region=engine.settings.region, secret_of=known, session_secret_of=sessions)
        self._hosts = Hosts.of(engine.settings)
        self._host_id = secrets.token_hex(8)
        self._under_way = 0

    async def handle(self, request: Request) -> Response:
        """Return the answer; never raises but for cancellation."""
        self._under_way += 1
        request, begun, code = self._hosts.arrived(request), time.monotonic(), ""
        _CALL.set(None)
        try:
            response = await self._answer(request)
        except StratumError as error:
            if not isinstance(error, S3Error):
                log.info("%s %s: %s", request.method, type(error).__name__, error)
            code, response = answer_for(error).code, self._refusal(error, request)
        except Exception:
            log.exception("%s failed; this is a bug", request.method)
            code, response = "InternalError", self._refusal(S3Error("InternalError"), request)
        finally:
            self._under_way -= 1
        response = cors.with_cors(self._engine, request, response)
        named = [(b"x-amz-request-id", request.request_id.encode()), (b"x-amz-id-2", self._host_id.encode())]
        response = replace(response, headers=[*response.headers, *named])
        return logged(self._engine, Exchange(request, _CALL.get(), code, begun, self._now_s(), self._host_id), response)

    def _refusal(self, error: StratumError, request: Request) -> Response:
        return error_response(
            error,
            resource=request.raw_path.decode("latin-1"),
            request_id=request.request_id,
            host_id=self._host_id,
            head=request.method == "HEAD",
        )

    async def _answer(self, request: Request) -> Response:
        if self._under_way > self._engine.limits.requests:
            raise S3Error("SlowDown")
        if request.method == "OPTIONS":
            return cors.preflight(self._engine, request)
        if request.website:
            return await serve_website(self._engine, request, self._run)
        if sts.is_sts(request):
            return await sts.answer(self._engine, self._verifier, request, now_s=self._now_s())
        if is_form(request):
            call = await form_call(self._engine, request, now_s=self._now_s(), principal_of=self._signed_by)
            return await self._run(call)
        verified = self._verifier.verify(request, now_s=self._now_s(), anonymous=True)
        request = replace(request, headers=[*request.headers, *verified.moved_headers])
        copying = request.header("x-amz-copy-source") is not None
        found = route(
            request.method,
            request.raw_path,
            parse_query(request.raw_query),
            copying=copying,
            host_bucket=request.bucket,
        )
        return await self._run(self._call(request, found, verified))

    async def _run(self, call: Call) -> Response:
        _CALL.set(call)
        refuse_unserved(call)
        if call.route.op is Op.PUT_OBJECT_TAGGING:
            call = replace(call, rejudge=partial(check_request_tags, call))
        await refuse_long_keys(call)
        await authorise(call)
        try:
            return payment.charged(call, await HANDLERS[call.route.op](call))
        except StratumError as error:
            told = await refusal_instead(call, error)
            if told is error:
                raise
            raise told from error

    def _signed_by(self, access_key: str | None, token: str) -> Principal:
        """Who asks: whose the access key is; without one, nobody in particular. `token`: of temporary credentials."""
        if access_key and token:
            return self._engine.sessions.principal_of(access_key, token)
        return self._engine.credentials.principal_of(access_key) if access_key else ANONYMOUS

    def _call(self, request: Request, found: Route, verified: Verified) -> Call:
        default = "" if found.op in NO_DEFAULT_CHECKSUM else "crc64nvme"
        return Call(
            engine=self._engine,
            request=request,
            headers=request.header_map(),
            principal=self._signed_by(verified.access_key, verified.token),
            signing=_signing(verified),
            route=found,
            payload=open_payload(
                request,
                verified,
                default_algorithm=default,
                checksums=found.op is not Op.COMPLETE_UPLOAD,  # there they speak of the object, not of this body
            ),
        )
