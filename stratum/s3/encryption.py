"""The headers of server-side encryption: what a request asks for, and what an answer says.

Room: stratum/s3. May import: core.{checksums, encryption, records}, engine, s3.{call, errors, http}.

Invariants
    E1  What was asked to be encrypted is encrypted as it was asked, or the request is refused: no header of these is
        ignored where it would have meant something.
    E2  A customer's key leaves this module only as a CustomerKey; no error and no answer shows it.

Sources: docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html, UsingKMSEncryption.html
"""

import base64
import binascii
import hmac
import ipaddress
from hashlib import md5

import msgspec

from stratum.core.checksums import decode_base64, encode_base64
from stratum.core.encryption import KIND, SSE_C, SSE_KMS, SSE_S3, CustomerKey, Encryption, SealSpec, key_name
from stratum.core.records import Sealed
from stratum.core.sealing import KEY_BYTES
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Headers, header

METHOD = "x-amz-server-side-encryption"
KMS_KEY = f"{METHOD}-aws-kms-key-id"
CONTEXT = f"{METHOD}-context"
BUCKET_KEY = f"{METHOD}-bucket-key-enabled"
CUSTOMER = f"{METHOD}-customer-"
SOURCE_CUSTOMER = "x-amz-copy-source-server-side-encryption-customer-"

AES256, AWS_KMS, AWS_KMS_DSSE = "AES256", "aws:kms", "aws:kms:dsse"
SHOWN = {SSE_S3: AES256, SSE_KMS: AWS_KMS}
CONTEXT_BYTES_MAX = 8192

_BY_CUSTOMER = "Requests specifying Server Side Encryption with Customer provided keys must"


# --- what is asked for ------------------------------------------------------------------------------------------


def seal_spec(call: Call) -> SealSpec | None:
    """How a new object is to be encrypted: as the headers say, else as the bucket does. None: not at all.

    Raises InvalidArgument, InvalidRequest, InvalidEncryptionAlgorithmError, NotImplemented.
    """
    customer = customer_key(call)
    method = call.headers.get(METHOD)
    if customer is not None:
        if method is not None:
            message = "Server Side Encryption with Customer provided key is incompatible with the encryption method"
            raise S3Error("InvalidArgument", f"{message} specified", ArgumentName=METHOD, ArgumentValue=method)
        _refuse_kms_headers(call)
        return SealSpec(scheme=SSE_C, customer=customer)
    if method == AWS_KMS:
        return SealSpec(
            scheme=SSE_KMS,
            key_id=key_name(call.headers.get(KMS_KEY, "")),
            context=_context(call.headers.get(CONTEXT, "")),
            bucket_key=_bucket_key(call),
        )
    _refuse_kms_headers(call)
    if method is None:
        return _default(call)
    if method == AWS_KMS_DSSE:
        raise S3Error("NotImplemented", "Two layers of encryption (aws:kms:dsse) are not implemented.")
    if method != AES256:
        message = "The encryption method specified is not supported"
        raise S3Error("InvalidArgument", message, ArgumentName=METHOD, ArgumentValue=method)
    return SealSpec(scheme=SSE_S3, bucket_key=_bucket_key(call))


def _refuse_kms_headers(call: Call) -> None:
    for name in (KMS_KEY, CONTEXT):
        if name in call.headers:
            message = f"Server Side Encryption with AWS KMS managed key requires HTTP header {METHOD} : {AWS_KMS}"
            raise S3Error("InvalidArgument", message, ArgumentName=name)


def _default(call: Call) -> SealSpec | None:
    default = call.engine.configurations.read(call.bucket, KIND, Encryption)
    if default is None:
        return None
    enabled = _bucket_key(call) if BUCKET_KEY in call.headers else default.bucket_key
    return SealSpec(scheme=default.scheme, key_id=key_name(default.key_id), bucket_key=enabled)


def _bucket_key(call: Call) -> bool:
    text = call.headers.get(BUCKET_KEY, "false").lower()
    if text not in ("true", "false"):
        raise S3Error("InvalidArgument", "The value must be true or false.", ArgumentName=BUCKET_KEY)
    return text == "true"


def _context(text: str) -> str:
    if not text:
        return ""
    message = "The encryption context must be the base64 of a JSON object with texts as values."
    if len(text) > CONTEXT_BYTES_MAX:
        raise S3Error("InvalidArgument", message, ArgumentName=CONTEXT)
    try:
        msgspec.json.decode(base64.b64decode(text, validate=True), type=dict[str, str])
    except (binascii.Error, ValueError):  # msgspec's errors are ValueErrors
        raise S3Error("InvalidArgument", message, ArgumentName=CONTEXT) from None
    return text


def customer_key(call: Call, prefix: str = CUSTOMER) -> CustomerKey | None:
    """The customer's key that came with the request; `prefix` SOURCE_CUSTOMER: of a copy's source. None: none came.

    Raises InvalidArgument, InvalidEncryptionAlgorithmError, InvalidRequest (it came over an open line).
    """
    algorithm, key, digest = (call.headers.get(prefix + name) for name in ("algorithm", "key", "key-md5"))
    if algorithm is None and key is None and digest is None:
        return None
    _refuse_open_line(call)
    if algorithm is None:
        raise S3Error("InvalidArgument", f"{_BY_CUSTOMER} provide a valid encryption algorithm.")
    if algorithm != AES256:
        raise S3Error("InvalidEncryptionAlgorithmError", Algorithm=algorithm)
    if key is None:
        raise S3Error("InvalidArgument", f"{_BY_CUSTOMER} provide an appropriate secret key.")
    if digest is None:
        raise S3Error("InvalidArgument", f"{_BY_CUSTOMER} provide the client calculated MD5 of the secret key.")
    raw = decode_base64(key, KEY_BYTES)
    if raw is None:
        raise S3Error("InvalidArgument", "The secret key was invalid for the specified algorithm.")
    computed = encode_base64(md5(raw, usedforsecurity=False).digest())
    if not hmac.compare_digest(computed.encode(), digest.encode()):
        raise S3Error("InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided.")
    return CustomerKey(raw, computed)


def _refuse_open_line(call: Call) -> None:
    rule = call.engine.settings.customer_keys
    if call.request.scheme == "https" or rule == "any" or (rule == "auto" and _is_here(call.request.peer)):
        return
    raise S3Error("InvalidRequest", f"{_BY_CUSTOMER} be made over a secure connection.")


def _is_here(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def source_key(call: Call) -> CustomerKey | None:
    """The customer's key of a copy's source. Raises as `customer_key`."""
    return customer_key(call, SOURCE_CUSTOMER)


def reading_key(call: Call) -> CustomerKey | None:
    """The customer's key of a GET or HEAD, where nothing else of encryption may be said. Raises as `customer_key`."""
    for name in (METHOD, KMS_KEY, CONTEXT, BUCKET_KEY):
        if name in call.headers:
            message = f"{name} header is not supported for this operation."
            raise S3Error("InvalidArgument", message, ArgumentName=name, ArgumentValue=call.headers[name])
    return customer_key(call)


def part_key(call: Call, sealed: Sealed | None) -> CustomerKey | None:
    """The customer's key of a part of an upload. How the upload is encrypted was said when it was created.

    Raises as `customer_key`, and InvalidRequest if encryption is asked of the parts of an upload that has none.
    """
    if sealed is None and METHOD in call.headers:
        message = "Server Side Encryption of a multipart upload is asked for when it is created."
        raise S3Error("InvalidRequest", message)
    return customer_key(call)


# --- what is answered -------------------------------------------------------------------------------------------


def sealed_headers(sealed: Sealed | None) -> Headers:
    """The headers that say how an object, or an upload, is encrypted."""
    if sealed is None:
        return []
    if sealed.scheme == SSE_C:
        return [header(f"{CUSTOMER}algorithm", AES256), header(f"{CUSTOMER}key-md5", sealed.customer_md5)]
    shown = [header(METHOD, SHOWN[sealed.scheme])]
    if sealed.scheme == SSE_KMS:
        shown.append(header(KMS_KEY, sealed.key_id))
        shown += [header(BUCKET_KEY, "true")] if sealed.bucket_key else []
    return shown


def written_headers(sealed: Sealed | None) -> Headers:
    """As `sealed_headers`, with what only the answer to a write shows."""
    context = [header(CONTEXT, sealed.context)] if sealed is not None and sealed.context else []
    return [*sealed_headers(sealed), *context]
