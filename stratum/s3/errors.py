"""Every error of the S3 door: which status, code and message an error of the engine becomes (law 10).

Room: stratum/s3. May import: core.errors, s3.{http, xml}.

404 is a statement of fact: only errors that mean "it is not there" are in that part of the table; what could not be
read is 500 or 503. Codes: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from collections.abc import Mapping

from stratum.core import errors as core
from stratum.s3.http import Headers, Response, header
from stratum.s3.xml import MalformedXml, node, printable, render

CODES: Mapping[str, tuple[int, str]] = {
    "NotModified": (304, "Not Modified"),
    "AccessControlListNotSupported": (400, "The bucket does not allow ACLs"),
    "AmbiguousGrantByEmailAddress": (400, "The e-mail address you provided is associated with more than one account."),
    "AuthorizationHeaderMalformed": (400, "The authorization header that you provided is not valid."),
    "AuthorizationQueryParametersError": (400, "The query-string authentication parameters are not valid."),
    "BadRequest": (400, "Bad Request"),
    "BadDigest": (400, "The Content-MD5 or checksum value that you specified did not match what was received."),
    "ExpiredToken": (400, "The provided token has expired."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed object size."),
    "IllegalVersioningConfigurationException": (400, "The versioning configuration specified is not valid."),
    "IncompleteBody": (400, "You did not provide the number of bytes specified by the Content-Length HTTP header."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketAclWithObjectOwnership": (
        400,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    ),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidChunkSizeError": (400, "Only the last chunk is allowed to have a size less than 8192 bytes"),
    "InvalidDigest": (400, "The Content-MD5 or checksum value that you specified is not valid."),
    "InvalidEncryptionAlgorithmError": (
        400,
        "The encryption request that you specified is not valid. The valid value is AES256.",
    ),
    "KMS.NotFoundException": (400, "The key does not exist in the key store."),
    "InvalidLocationConstraint": (400, "The specified location (Region) constraint is not valid."),
    "InvalidPart": (
        400,
        "One or more of the specified parts could not be found. The part might not have been uploaded, "
        "or the specified entity tag might not have matched the part's entity tag.",
    ),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order."),
    "InvalidPolicyDocument": (400, "The content of the form does not meet the conditions specified in the policy."),
    "InvalidRedirectLocation": (
        400,
        "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    ),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidStorageClass": (400, "The storage class that you specified is not valid."),
    "InvalidRetentionPeriod": (400, "The retention period specified is not valid."),
    "InvalidTag": (400, "The tag provided was not a valid tag."),
    "InvalidToken": (400, "The provided token is malformed or otherwise not valid."),
    "InvalidURI": (400, "The specified URI couldn't be parsed."),
    "KeyTooLongError": (400, "Your key is too long."),
    "MalformedACLError": (400, "The ACL that you provided was not well formed or did not validate."),
    "MalformedTrailerError": (400, "The request contained trailing data that was not well-formed."),
    "MalformedPolicy": (400, "The policy that you provided is not valid."),
    "MalformedXML": (400, "The XML that you provided was not well formed or did not validate."),
    "MalformedPOSTRequest": (400, "The body of your POST request is not well-formed multipart/form-data."),
    "MaxPostPreDataLengthExceeded": (
        400,
        "Your POST request fields preceding the upload file were too large.",
    ),
    "MaxMessageLengthExceeded": (400, "Your request was too large."),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size."),
    "MissingSecurityHeader": (400, "Your request was missing a required header."),
    "RequestHeaderSectionTooLarge": (400, "The request header exceeded the maximum allowed size."),
    "RequestTimeout": (400, "Your socket connection to the server was not read from within the timeout period."),
    "TooManyConfigurations": (400, "You attempted to create a new configuration but exceeded the limit."),
    "UnexpectedContent": (400, "This request does not support content"),
    "UnresolvableGrantByEmailAddress": (
        400,
        "The e-mail address you provided does not match any account on record.",
    ),
    "XAmzContentSHA256Mismatch": (400, "The provided 'x-amz-content-sha256' header does not match what was computed."),
    "AccessDenied": (403, "Access Denied"),
    "AccessForbidden": (403, "CORSResponse: CORS is not enabled for this bucket."),
    "InvalidAccessKeyId": (403, "The AWS access key ID that you provided does not exist in our records."),
    "InvalidObjectState": (403, "The operation is not valid for the current state of the object."),
    "QuotaExceeded": (403, "The quota of the bucket, or of its owner, does not allow this."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the server's time is too large."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature that the server calculated does not match the signature that you provided. "
        "Check your secret access key and signing method.",
    ),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (
        404,
        "The specified multipart upload does not exist. The upload ID might not be valid, or the upload "
        "might have been aborted or completed.",
    ),
    "NoSuchVersion": (404, "The version ID specified in the request does not match an existing version."),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "NoSuchTagSet": (404, "The TagSet does not exist"),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchWebsiteConfiguration": (404, "The specified bucket does not have a website configuration"),
    "NoSuchPublicAccessBlockConfiguration": (404, "The public access block configuration was not found"),
    "NoSuchObjectLockConfiguration": (404, "The specified object does not have a ObjectLock configuration"),
    "NoSuchConfiguration": (404, "The specified configuration does not exist."),
    "ServerSideEncryptionConfigurationNotFoundError": (
        404,
        "The server side encryption configuration was not found",
    ),
    "ReplicationConfigurationNotFoundError": (404, "The replication configuration was not found"),
    "ObjectLockConfigurationNotFoundError": (404, "Object Lock configuration does not exist for this bucket"),
    "OwnershipControlsNotFoundError": (404, "The bucket ownership controls were not found"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "BucketAlreadyExists": (409, "The requested bucket name is not available."),
    "BucketAlreadyOwnedByYou": (409, "The bucket that you tried to create already exists, and you own it."),
    "BucketNotEmpty": (409, "The bucket that you tried to delete is not empty."),
    "InvalidBucketState": (409, "The request is not valid for the current state of the bucket."),
    "ConditionalRequestConflict": (409, "A conflicting conditional operation is in progress for this resource."),
    "OperationAborted": (409, "A conflicting operation is in progress for this resource. Try again."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "PreconditionFailed": (412, "At least one of the preconditions that you specified did not hold."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable"),
    "InternalError": (500, "An internal error occurred. Try again."),
    "NotImplemented": (501, "A header or query you provided implies functionality that is not implemented."),
    "ServiceUnavailable": (503, "Please reduce your request rate or try again later."),
    "SlowDown": (503, "Please reduce your request rate."),
    "HttpVersionNotSupported": (505, "The HTTP version specified is not supported."),
    # No code of AWS fits a full disk; 507 is clear, and no client retries it.
    "InsufficientStorage": (507, "There is no room left on the disks."),
}


class S3Error(core.StratumError):
    """An answer that is an error: a code of the table, a message, further XML fields, further headers."""

    def __init__(self, code: str, message: str = "", *, headers: Headers | None = None, **fields: str) -> None:
        self.code = code
        self.status, default = CODES[code]
        self.message = message or default
        self.fields = fields
        self.headers = headers or []
        super().__init__(f"{code}: {self.message}")


# By the nearest ancestor. What no S3 request should ever meet is InternalError, never 404.
ANSWERS: Mapping[type[core.StratumError], str] = {
    core.StratumError: "InternalError",
    core.NotFound: "InternalError",
    core.NoSuchBucket: "NoSuchBucket",
    core.NoSuchKey: "NoSuchKey",
    core.NoSuchUpload: "NoSuchUpload",
    core.NoSuchVersion: "NoSuchVersion",
    core.NoSuchCredential: "InvalidAccessKeyId",
    core.Conflict: "OperationAborted",
    core.BucketExists: "BucketAlreadyExists",
    core.BucketNotEmpty: "BucketNotEmpty",
    core.PreconditionFailed: "PreconditionFailed",
    core.Invalid: "InvalidRequest",
    core.InvalidArgument: "InvalidArgument",
    core.InvalidBucketName: "InvalidBucketName",
    MalformedXml: "MalformedXML",
    core.MalformedPolicy: "MalformedPolicy",
    core.InvalidTag: "InvalidTag",
    core.KeyTooLong: "KeyTooLongError",
    core.NameTooLong: "KeyTooLongError",
    core.RangeNotSatisfiable: "InvalidRange",
    core.InvalidPart: "InvalidPart",
    core.InvalidPartOrder: "InvalidPartOrder",
    core.PartTooSmall: "EntityTooSmall",
    core.TooLarge: "EntityTooLarge",
    core.MetadataTooLarge: "MetadataTooLarge",
    core.BadDigest: "BadDigest",
    core.IncompleteBody: "IncompleteBody",
    core.NotPermitted: "AccessDenied",
    core.BadSession: "InvalidToken",
    core.ExpiredSession: "ExpiredToken",
    core.NotSealing: "NotImplemented",
    core.CustomerKeyNeeded: "InvalidRequest",
    core.CustomerKeyWrong: "InvalidRequest",
    core.CustomerKeyUnwanted: "InvalidRequest",
    core.NoSuchNamedKey: "KMS.NotFoundException",
    core.Unavailable: "ServiceUnavailable",
    core.StoreFull: "InsufficientStorage",
    core.QuotaExceeded: "QuotaExceeded",
    core.Busy: "SlowDown",
    core.Corrupt: "InternalError",
}

# Where the engine's own words help the client; elsewhere they might tell of disks and paths.
_TELLING = (core.InvalidArgument, core.InvalidPart, core.BadDigest, core.IncompleteBody, core.PartTooSmall)
_TELLING += (
    core.MalformedPolicy,
    core.WrongSize,
)


# In the words of AWS, where one code has several meanings.
_MESSAGES: Mapping[type[core.StratumError], str] = {
    core.CustomerKeyNeeded: (
        "The object was stored using a form of Server Side Encryption. "
        "The correct parameters must be provided to retrieve the object."
    ),
    core.CustomerKeyWrong: (
        "The provided encryption parameters did not match the ones used originally to encrypt the object."
    ),
    core.CustomerKeyUnwanted: "The encryption parameters are not applicable to this object.",
    core.NotSealing: "Server side encryption was asked for, but this server has no master key.",
    core.NoMasterKey: "The master key that this store's keys are sealed with is not available.",
}


def answer_for(error: core.StratumError) -> S3Error:
    """Return the S3 answer of an error of the engine; an S3Error is its own answer."""
    if isinstance(error, S3Error):
        return error
    if isinstance(error, core.MarkerFound):
        return _marker(error)
    if isinstance(error, core.NoSuchKey):  # said outright, for clients that ask whether it was a delete marker
        return S3Error("NoSuchKey", headers=[(b"x-amz-delete-marker", b"false")])
    if isinstance(error, core.InvalidPart):
        return S3Error("InvalidPart", f"{CODES['InvalidPart'][1]} ({error})")
    if isinstance(error, core.PreconditionFailed):
        return S3Error("PreconditionFailed", Condition=str(error))
    code = next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
    return S3Error(code, str(error) if isinstance(error, _TELLING) else _MESSAGES.get(type(error), ""))


def _marker(error: core.MarkerFound) -> S3Error:
    """A delete marker: as good as no object, unless the marker itself was asked for by its version."""
    headers = [(b"x-amz-delete-marker", b"true"), header("x-amz-version-id", error.version)]
    if error.asked:
        return S3Error("MethodNotAllowed", headers=[*headers, (b"allow", b"DELETE")])
    return S3Error("NoSuchKey", headers=headers)


def render_error(error: S3Error, *, resource: str, request_id: str, host_id: str) -> bytes:
    """Return the XML of an error: no namespace, no character that a parser would refuse."""
    fields = {"Code": error.code, "Message": error.message, **error.fields}
    fields |= {"Resource": resource, "RequestId": request_id, "HostId": host_id}
    return render(node("Error", *(node(name, printable(text)) for name, text in fields.items())), namespace="")


def error_response(
    error: core.StratumError, *, resource: str, request_id: str, host_id: str, head: bool = False
) -> Response:
    """Return the whole answer for an error, without a body for HEAD and for 304."""
    answer = answer_for(error)
    if head or answer.status == 304:
        return Response(status=answer.status, headers=list(answer.headers))
    body = render_error(answer, resource=resource, request_id=request_id, host_id=host_id)
    return Response(
        status=answer.status, headers=[*answer.headers, header("content-type", "application/xml")], body=body
    )
