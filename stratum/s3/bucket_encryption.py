"""The default encryption of a bucket: PutBucketEncryption, GetBucketEncryption, DeleteBucketEncryption.

Room: stratum/s3. May import: core.encryption, engine, s3.{answers, call, encryption, errors, http, small_body, xml}.

A bucket has none until one is set, and says so: at AWS every bucket is encrypted, here only those that are asked to be.
The key of a rule need not exist yet, as at AWS; a write that needs it is refused until it does.
"""

from stratum.core.encryption import KIND, SSE_KMS, SSE_S3, Encryption
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.encryption import AES256, AWS_KMS, AWS_KMS_DSSE, SHOWN
from stratum.s3.errors import S3Error
from stratum.s3.headers import checked
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

ROOT, RULE, DEFAULT = "ServerSideEncryptionConfiguration", "Rule", "ApplyServerSideEncryptionByDefault"
KEY, ALGORITHM, BUCKET_KEY = "KMSMasterKeyID", "SSEAlgorithm", "BucketKeyEnabled"
KEY_CHARACTERS_MAX = 2048  # of an ARN


async def put_bucket_encryption(call: Call) -> Response:
    """PUT /bucket?encryption."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, ROOT)
    await call.engine.configurations.put(call.bucket, KIND, parse_encryption(document))
    return Response(200, [], b"")


async def get_bucket_encryption(call: Call) -> Response:
    """GET /bucket?encryption."""
    found = await call.engine.configurations.get(call.bucket, KIND, Encryption)
    if found is None:
        raise S3Error("ServerSideEncryptionConfigurationNotFoundError", BucketName=call.bucket)
    default = [node(ALGORITHM, SHOWN[found.scheme])]
    if found.key_id:
        default.append(node(KEY, found.key_id))
    enabled = node(BUCKET_KEY, "true" if found.bucket_key else "false")
    return xml_answer(node(ROOT, node(RULE, node(DEFAULT, *default), enabled)))


async def delete_bucket_encryption(call: Call) -> Response:
    """DELETE /bucket?encryption: 204 also if there was none."""
    await call.engine.configurations.delete(call.bucket, KIND)
    return Response(204, [], b"")


def parse_encryption(document: Node) -> Encryption:
    """Return what a ServerSideEncryptionConfiguration says. Raises MalformedXML, InvalidArgument, NotImplemented."""
    rules = children(document, RULE)
    if len(rules) != 1 or len(document.children) != 1:
        raise S3Error("MalformedXML")
    rule = rules[0]
    defaults = children(rule, DEFAULT)
    _only(rule, DEFAULT, BUCKET_KEY)
    if len(defaults) != 1:
        raise S3Error("MalformedXML")
    _only(defaults[0], ALGORITHM, KEY)
    algorithm = child_text(defaults[0], ALGORITHM)
    key_id = child_text(defaults[0], KEY) or ""
    if algorithm == AWS_KMS_DSSE:
        raise S3Error("NotImplemented", "Two layers of encryption (aws:kms:dsse) are not implemented.")
    if algorithm not in (AES256, AWS_KMS):
        raise S3Error("MalformedXML")
    if key_id and algorithm == AES256:
        message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms"
        raise S3Error("InvalidArgument", message, ArgumentName=KEY)
    if len(key_id) > KEY_CHARACTERS_MAX:
        raise S3Error("InvalidArgument", "The key id is too long.", ArgumentName=KEY)
    scheme = SSE_S3 if algorithm == AES256 else SSE_KMS
    return Encryption(scheme, checked(KEY, key_id), _boolean(child_text(rule, BUCKET_KEY) or "false"))


def _only(element: Node, *names: str) -> None:
    """Nothing that asks for more than is kept."""
    if any(child.name not in names for child in element.children):
        raise S3Error("MalformedXML")


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise S3Error("MalformedXML")
    return text.lower() == "true"
