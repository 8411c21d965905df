"""Who signed a POST form, and whether the form is what they allowed.

Room: stratum/s3. May import: core.{checksums, errors, form_policy}, s3.{claims, errors, form, sigv4}.

Invariants
    G1  The signature covers the policy as it was sent (base64); the policy covers the fields (core/form_policy.py).
    G2  Unknown access key and wrong signature take the same path; signatures are compared in constant time.
    G3  A form is either anonymous (no policy, no signature, nobody named) or signed with all that belongs to it.

Two signatures are known: version 4, and version 2 (base64 of HMAC-SHA1 under the secret key), which older form
builders still make. What version 2 signs of a form is one text, so none of what weakened it
for whole requests applies.

Source: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-UsingHTTPPOST.html, RESTAuthentication.html
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from stratum.core.errors import NoSuchCredential
from stratum.core.form_policy import FormPolicy, FormRefused, MalformedFormPolicy, check_form, parse_form_policy
from stratum.s3.claims import ALGORITHM, timestamp_s
from stratum.s3.errors import S3Error
from stratum.s3.sigv4 import NOBODYS_SECRET, SKEW_SECONDS_MAX, signing_key

VALID_SECONDS_MAX = 7 * 86400  # of a date that a signature is for
V4 = ("x-amz-signature", "x-amz-credential", "x-amz-algorithm", "x-amz-date")
V2 = ("signature", "awsaccesskeyid")
_SHOWN = {"policy": "policy", "awsaccesskeyid": "AWSAccessKeyId", "signature": "Signature"}


def signer_of(fields: Mapping[str, str], *, region: str, secret_of: Callable[[str], str], now_s: int) -> str | None:
    """The access key that signed the form at `now_s`, or None if it claims to be nobody's (G3).

    `secret_of` knows the token of temporary credentials, if the form has one; it raises NoSuchCredential.
    Raises SignatureDoesNotMatch, InvalidAccessKeyId, InvalidArgument, InvalidToken, AccessDenied.
    """
    if fields.get("x-amz-security-token") == "":
        raise S3Error("InvalidToken")
    new, old = [name for name in V4 if name in fields], [name for name in V2 if name in fields]
    if not new and not old and "policy" not in fields:
        if "x-amz-security-token" in fields:
            raise S3Error("InvalidToken")
        return None
    if new and old:
        raise S3Error("InvalidArgument", "Only one auth mechanism allowed", ArgumentName="x-amz-signature")
    for name in ("policy", *(V4 if new else V2)):
        if not fields.get(name):
            raise missing(_SHOWN.get(name, name))
    return _v4(fields, region, secret_of, now_s) if new else _v2(fields, secret_of)


def missing(name: str) -> S3Error:
    """The refusal of a form without a field that it needs."""
    message = f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the "
    message += "fields."
    return S3Error("InvalidArgument", message, ArgumentName=name, ArgumentValue="")


def _v4(fields: Mapping[str, str], region: str, secret_of: Callable[[str], str], now_s: int) -> str:
    if fields["x-amz-algorithm"] != ALGORITHM:
        raise S3Error("InvalidArgument", f'X-Amz-Algorithm only supports "{ALGORITHM}"', ArgumentName="x-amz-algorithm")
    access_key, date, its_region, service, end = _credential(fields["x-amz-credential"])
    stamp = fields["x-amz-date"]
    at = timestamp_s(stamp)
    if at is None or stamp[:8] != date or (its_region, service, end) != (region, "s3", "aws4_request"):
        message = f"The credential scope or the date is wrong; expecting '{region}', 's3' and the day of x-amz-date."
        raise S3Error("InvalidArgument", message, ArgumentName="x-amz-credential")
    if not at - SKEW_SECONDS_MAX <= now_s <= at + VALID_SECONDS_MAX:
        raise S3Error("AccessDenied", "Request has expired")
    secret, known = _secret(access_key, secret_of)
    expected = hmac.digest(signing_key(secret, date, region, "s3"), fields["policy"].encode(), "sha256").hex()
    return _compared(access_key, expected, fields["x-amz-signature"], known=known)


def _credential(text: str) -> tuple[str, ...]:
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or not parts[0]:
        message = 'The Credential must be of the form "<access key>/YYYYMMDD/REGION/s3/aws4_request".'
        raise S3Error("InvalidArgument", message, ArgumentName="x-amz-credential")
    return tuple(parts)


def _v2(fields: Mapping[str, str], secret_of: Callable[[str], str]) -> str:
    access_key = fields["awsaccesskeyid"]
    secret, known = _secret(access_key, secret_of)
    expected = b64encode(hmac.digest(secret.encode(), fields["policy"].encode(), "sha1")).decode()
    return _compared(access_key, expected, fields["signature"], known=known)


def _secret(access_key: str, secret_of: Callable[[str], str]) -> tuple[str, bool]:
    try:
        return secret_of(access_key), True
    except NoSuchCredential:
        return NOBODYS_SECRET, False


def _compared(access_key: str, expected: str, given: str, *, known: bool) -> str:
    right = hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))
    if not known:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=access_key)
    if not right:
        raise S3Error("SignatureDoesNotMatch", AWSAccessKeyId=access_key, SignatureProvided=given)
    return access_key


def allowed_sizes(fields: Mapping[str, str], bucket: str, now_s: int) -> tuple[int, int] | None:
    """Hold a form against its policy, if it has one; return what the policy says of the size of the file, in bytes.

    Raises InvalidPolicyDocument, AccessDenied.
    """
    if "policy" not in fields:
        return None
    try:
        policy = parse_form_policy(b64decode(fields["policy"], validate=True))
        check_form(policy, fields, bucket)
    except binascii.Error as error:
        raise S3Error("InvalidPolicyDocument", "Invalid Policy: Invalid base64.") from error
    except MalformedFormPolicy as error:
        raise S3Error("InvalidPolicyDocument", str(error)) from error
    except FormRefused as error:
        raise S3Error("AccessDenied", str(error)) from error
    if _expires(policy) <= now_s:
        raise S3Error("AccessDenied", "Invalid according to Policy: Policy expired.")
    return policy.sizes


def _expires(policy: FormPolicy) -> float:
    try:
        moment = datetime.fromisoformat(policy.expiration.partition(".")[0].removesuffix("Z"))
        return moment.replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise S3Error("InvalidPolicyDocument", "Invalid Policy: Invalid 'expiration' value.") from error
