"""The security token service: temporary credentials, at POST / of the same endpoint.

Room: stratum/s3. May import: core, engine, s3.{errors, http, policy_context, sigv4, xml}.

Invariants
    T1  A request is signed for the service `sts`, its body included; only AssumeRoleWithWebIdentity needs no signature,
        and one that is there must hold all the same.
    T2  Who asks is told no more than AWS tells: a role that is not there is refused as one that is not for them.
    T3  An action or parameter that is not known is refused: what was asked for and is not done would be a surprise.

Source: docs.aws.amazon.com/STS/latest/APIReference
"""

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from stratum.core import errors as core
from stratum.core.principals import ANONYMOUS, Principal
from stratum.core.roles import SECONDS_MAX, SECONDS_MIN, role_of
from stratum.engine.engine import Engine
from stratum.engine.sessions import Begun
from stratum.s3.errors import S3Error
from stratum.s3.http import Request, Response
from stratum.s3.policy_context import principal_arn
from stratum.s3.sigv4 import Verifier
from stratum.s3.xml import Node, node, printable, render

log = logging.getLogger(__name__)

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
VERSION = "2011-06-15"
FORM = b"application/x-www-form-urlencoded"
BODY_BYTES_MAX = 64 * 1024
FIELDS_MAX = 64
USER_SECONDS_MAX, USER_SECONDS = 129_600, 43_200  # of GetSessionToken
WITHOUT_SIGNATURE = frozenset(("AssumeRoleWithWebIdentity",))

_SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,7}", re.ASCII)
_MALFORMED = ("AuthorizationHeaderMalformed", "AuthorizationQueryParametersError", "InvalidArgument", "InvalidRequest")

Fields = Mapping[str, str]


class StsError(core.StratumError):
    """An answer of this service that is an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose signature holds. `signer` is ANONYMOUS where there is none."""

    engine: Engine
    signer: Principal
    fields: Fields


def is_sts(request: Request) -> bool:
    """Is it for this service? Everything that is posted to `/` as a form of fields."""
    kind = (request.header("content-type") or "").encode("latin-1").partition(b";")[0].strip().lower()
    here = request.method == "POST" and request.raw_path == b"/" and request.bucket is None and not request.website
    return here and kind == FORM


async def answer(engine: Engine, verifier: Verifier, request: Request, *, now_s: int) -> Response:
    """Answer it, with an error of this service if need be."""
    try:
        body = await _body(request)
        fields = _fields(body)
        signer = _signer(engine, verifier, request, body, now_s)
        status, tree = 200, await _act(Asked(engine, signer, fields), request.request_id)
    except core.StratumError as error:
        shown = _shown(error)
        status, tree = shown.status, _error(shown, request.request_id)
        log.info("sts: %s", shown)
    headers = [(b"content-type", b"text/xml"), (b"x-amzn-requestid", request.request_id.encode())]
    return Response(status, [*headers, (b"cache-control", b"no-store")], render(tree, NAMESPACE))


async def _body(request: Request) -> bytes:
    pieces = bytearray()
    async for piece in request.body:
        pieces += piece
        if len(pieces) > BODY_BYTES_MAX:
            raise StsError(413, "RequestEntityTooLarge", "The request is too large.")
    return bytes(pieces)


def _fields(body: bytes) -> Fields:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise StsError(400, "MalformedQueryString", "The query string contains a syntax error.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise StsError(400, "MalformedQueryString", "A parameter was given twice.")
    return fields


def _signer(engine: Engine, verifier: Verifier, request: Request, body: bytes, now_s: int) -> Principal:
    """T1."""
    digest = hashlib.sha256(body).hexdigest()
    if request.raw_query:
        raise StsError(400, "MalformedQueryString", "Parameters belong into the body.")
    verified = verifier.verify(request, now_s=now_s, anonymous=True, service="sts", body_sha256=digest)
    if not verified.access_key:
        return ANONYMOUS
    if verified.token:
        return engine.sessions.principal_of(verified.access_key, verified.token)
    return engine.credentials.principal_of(verified.access_key)


async def _act(asked: Asked, request_id: str) -> Node:
    action = asked.fields.get("Action", "")
    if not action:
        raise StsError(400, "MissingAction", "The request is missing an action parameter.")
    if action not in ACTIONS or asked.fields.get("Version", VERSION) != VERSION:
        raise StsError(400, "InvalidAction", f"Could not find operation {printable(action[:64])}")
    known, act = ACTIONS[action]
    unknown = asked.fields.keys() - known - {"Action", "Version"}
    if unknown:
        name = printable(min(unknown)[:64])
        raise StsError(400, "ValidationError", f"The parameter {name} is not served here.")
    if asked.signer.anonymous and action not in WITHOUT_SIGNATURE:
        raise StsError(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
    result = node(f"{action}Result", *await act(asked))
    return node(f"{action}Response", result, node("ResponseMetadata", node("RequestId", request_id)))


# --- the actions ----------------------------------------------------------------------------------------------


async def _get_caller_identity(asked: Asked) -> list[Node]:
    signer = asked.signer
    arn, user = principal_arn(signer), signer.user
    if signer.role:
        arn, user = _session_arn(signer.account_id, signer.role, signer.session), f"{signer.role}:{signer.session}"
    return [node("Arn", arn), node("UserId", user), node("Account", signer.account_id)]


async def _get_session_token(asked: Asked) -> list[Node]:
    seconds = _seconds(asked.fields, USER_SECONDS_MAX)
    begun = await asked.engine.sessions.begin(asked.signer, USER_SECONDS if seconds is None else seconds)
    return [_credentials(begun)]


async def _assume_role(asked: Asked) -> list[Node]:
    role, name, policy, seconds = _assumption(asked.fields)
    begun = await asked.engine.sessions.assume(asked.signer, role, name, seconds, policy)
    return [_credentials(begun), _assumed(asked.engine, begun), *_packed(policy)]


async def _assume_role_with_web_identity(asked: Asked) -> list[Node]:
    role, name, policy, seconds = _assumption(asked.fields)
    identity, provider = await asked.engine.web_identities.verify(_must(asked.fields, "WebIdentityToken"))
    begun = await asked.engine.sessions.assume_by_identity(
        identity, role, name, seconds, policy, role_claim=provider.role_claim
    )
    return [
        _credentials(begun),
        _assumed(asked.engine, begun),
        node("SubjectFromWebIdentityToken", printable(identity.subject)),
        node("Audience", printable(identity.audience)),
        node("Provider", provider.issuer),
        *_packed(policy),
    ]


_OF_A_ROLE = frozenset(("RoleArn", "RoleSessionName", "DurationSeconds", "Policy"))
Act = Callable[[Asked], Awaitable[list[Node]]]
ACTIONS: Mapping[str, tuple[frozenset[str], Act]] = {
    "GetCallerIdentity": (frozenset(), _get_caller_identity),
    "GetSessionToken": (frozenset(("DurationSeconds",)), _get_session_token),
    "AssumeRole": (_OF_A_ROLE, _assume_role),
    "AssumeRoleWithWebIdentity": (_OF_A_ROLE | {"WebIdentityToken"}, _assume_role_with_web_identity),
}


def _must(fields: Fields, name: str) -> str:
    if not fields.get(name):
        raise _invalid(f"Value at '{name}' failed to satisfy constraint: Member must not be null")
    return fields[name]


def _assumption(fields: Fields) -> tuple[str, str, str, int | None]:
    """(role, session name, session policy, seconds)."""
    role, name = role_of(_must(fields, "RoleArn")), _must(fields, "RoleSessionName")
    if role is None:
        raise _invalid("The RoleArn is not the ARN of a role: arn:aws:iam::<account>:role/<name>")
    if not _SESSION_NAME.fullmatch(name):
        raise _invalid("RoleSessionName must have 2 to 64 letters, digits and _ + = , . @ -")
    return role, name, fields.get("Policy", ""), _seconds(fields, SECONDS_MAX)


def _seconds(fields: Fields, most: int) -> int | None:
    text = fields.get("DurationSeconds")
    if text is None:
        return None
    if not _SECONDS.fullmatch(text) or not SECONDS_MIN <= int(text) <= most:
        raise _invalid(f"DurationSeconds must be from {SECONDS_MIN} to {most}")
    return int(text)


def _invalid(message: str) -> StsError:
    return StsError(400, "ValidationError", message)


# --- what is answered -----------------------------------------------------------------------------------------


def _credentials(begun: Begun) -> Node:
    session = begun.session
    expires = datetime.fromtimestamp(session.expires // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return node(
        "Credentials",
        node("AccessKeyId", session.access_key),
        node("SecretAccessKey", session.secret_key),
        node("SessionToken", begun.token),
        node("Expiration", expires),
    )


def _assumed(engine: Engine, begun: Begun) -> Node:
    session = begun.session
    arn = _session_arn(engine.sessions.account_of(session.role), session.role, session.name)
    return node("AssumedRoleUser", node("AssumedRoleId", f"{session.role}:{session.name}"), node("Arn", arn))


def _session_arn(account: str, role: str, session: str) -> str:
    return f"arn:aws:sts::{account}:assumed-role/{role}/{session}"


def _packed(policy: str) -> list[Node]:
    """How much of the room for session policies is taken, in percent."""
    return [node("PackedPolicySize", str(-(-len(policy) * 100 // 2048)))] if policy else []


_BY_CLASS: Mapping[type[core.StratumError], tuple[int, str]] = {
    core.NotPermitted: (403, "AccessDenied"),
    core.NoSuchRole: (403, "AccessDenied"),
    core.ExpiredIdentity: (400, "ExpiredTokenException"),
    core.BadIdentity: (400, "InvalidIdentityToken"),
    core.NotDelivered: (400, "IDPCommunicationError"),
    core.MalformedPolicy: (400, "MalformedPolicyDocument"),
    core.InvalidArgument: (400, "ValidationError"),
    core.ExpiredSession: (403, "ExpiredToken"),
    core.BadSession: (403, "InvalidClientTokenId"),
    core.NoSuchCredential: (403, "InvalidClientTokenId"),
    core.Unavailable: (503, "ServiceUnavailable"),
}
_TOLD = (core.BadIdentity, core.MalformedPolicy, core.InvalidArgument)
_BY_CODE = {"InvalidAccessKeyId": "InvalidClientTokenId", "RequestTimeTooSkewed": "SignatureDoesNotMatch"}


def _shown(error: core.StratumError) -> StsError:
    """An error of the engine, or of the verifier of signatures, in the words of this service."""
    if isinstance(error, StsError):
        return error
    if isinstance(error, S3Error):
        code = "IncompleteSignature" if error.code in _MALFORMED else _BY_CODE.get(error.code, error.code)
        return StsError(error.status, code, error.message)
    for kind in type(error).__mro__:
        if kind in _BY_CLASS:
            status, code = _BY_CLASS[kind]
            return StsError(status, code, str(error) if isinstance(error, _TOLD) else _words(code))
    return StsError(500, "InternalFailure", "The request processing has failed because of an unknown error.")


def _words(code: str) -> str:
    return {
        "AccessDenied": "Not authorized to perform this action",
        "IDPCommunicationError": "The identity provider could not be reached.",
        "ExpiredToken": "The security token included in the request is expired",
        "InvalidClientTokenId": "The security token included in the request is invalid.",
    }.get(code, "The service cannot do this now.")


def _error(error: StsError, request_id: str) -> Node:
    kind = "Sender" if error.status < 500 else "Receiver"
    told = node("Error", node("Type", kind), node("Code", error.code), node("Message", printable(error.message)))
    return node("ErrorResponse", told, node("RequestId", request_id))
