"""Tokens of identity providers (OpenID Connect): what one says, once its signature and its claims hold.

Room: stratum/core. May import: core.{config, errors}.

Invariants
    W1  A token is judged by keys that its provider publishes, and by nothing that stands in it: `jku`, `jwk` and `x5u`
        mean nothing here, `kid` only chooses among the published keys.
    W2  Asymmetric signatures only. So a public key is never taken for a secret (HS256), and `none` is no algorithm.
    W3  Issuer, audience, subject and expiry must be there, and right. Times may be off by LEEWAY_SECONDS.

Source: RFC 7515, 7517, 7519, 8725; openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation.
"""

import json
from dataclasses import dataclass

from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from stratum.core.config import OidcProvider
from stratum.core.errors import BadIdentity, ExpiredIdentity, UnknownSigner

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
KEY_TYPES = ("RSA", "EC", "OKP")
KEYS_MAX = 100
RSA_BITS_MIN = 2048
TOKEN_CHARACTERS_MAX = 16 * 1024
LEEWAY_SECONDS = 60
SUBJECT_CHARACTERS_MAX = 255  # OpenID Connect Core, 2

Claims = dict[str, object]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, in the words of a provider."""

    provider: str
    subject: str
    audience: str
    claims: Claims


def issuer_of(token: str) -> str:
    """Who a token says it is of: to find the provider, whose keys then decide. Raises BadIdentity."""
    if not token or len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        raise BadIdentity(f"a token has 1 to {TOKEN_CHARACTERS_MAX} characters")
    try:
        claims = json.loads(jws.extract_compact(token.encode()).payload)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadIdentity("this is no JSON Web Token that is signed") from error
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    if not isinstance(issuer, str):
        raise BadIdentity("the token does not say who issued it")
    return issuer


def keys_in(document: bytes) -> KeySet:
    """The keys that a provider publishes (a JWKS). Raises BadIdentity."""
    try:
        found = json.loads(document)["keys"]
        usable = [each for each in found if each.get("kty") in KEY_TYPES and each.get("use", "sig") == "sig"]
        return KeySet.import_key_set({"keys": usable[:KEYS_MAX]})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadIdentity("the provider publishes no keys that can be read") from error


def check_identity(token: str, keys: KeySet, provider: OidcProvider, now_s: int) -> Identity:
    """Return what the token says (W1 to W3). Raises UnknownSigner (no such key), ExpiredIdentity, BadIdentity."""
    registry = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": provider.issuer},
        aud={"essential": True, "values": list(provider.audiences)},
        sub={"essential": True},
        exp={"essential": True},
    )
    try:
        claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
        registry.validate(claims)
    except InvalidKeyIdError as error:
        raise UnknownSigner("the token is signed with a key that its provider does not publish") from error
    except ExpiredTokenError as error:
        raise ExpiredIdentity("the token has expired") from error
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadIdentity(f"the token is not accepted: {type(error).__name__}") from error
    subject, audience = claims["sub"], claims["aud"]
    if not subject or len(subject) > SUBJECT_CHARACTERS_MAX or not subject.isprintable():
        raise BadIdentity("the subject of the token is not one")
    named = audience if isinstance(audience, str) else next(each for each in audience if each in provider.audiences)
    return Identity(provider.name, subject, named, claims)
