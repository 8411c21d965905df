"""The root credentials: from the environment, else generated once and kept for their owner alone to read.

Room: stratum/serve. May import: engine.credentials, serve.secret_file.

None are built in, and there is no start without any.

The file has the shape of an AWS credentials file, so AWS_SHARED_CREDENTIALS_FILE may point to it.
"""

import configparser
import hashlib
import hmac
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum.engine.credentials import RootCredential
from stratum.serve.secret_file import ReadableByOthers, read_secret, write_secret

ACCESS_VARIABLE, SECRET_VARIABLE = "STRATUM_ROOT_ACCESS_KEY", "STRATUM_ROOT_SECRET_KEY"
ACCESS_CHARACTERS_MIN, SECRET_CHARACTERS_MIN = 3, 16
FILE_NAME = "credentials"


class BadCredentials(Exception):
    """The root credentials cannot be used; the message says why, and never shows a secret."""


@dataclass(frozen=True, slots=True)
class Root:
    """The root credential, where it is kept, and whether it was made just now."""

    credential: RootCredential
    place: str
    new: bool = False


def root_credential(data: Path, environment: Mapping[str, str], *, generate: bool = True) -> Root:
    """Find the root credential, or make one in `data`. Raises BadCredentials."""
    found = _from_environment(environment)
    if found is not None:
        return Root(found, f"the environment ({ACCESS_VARIABLE})")
    path = data / FILE_NAME
    try:
        return Root(_read(path), str(path))
    except FileNotFoundError:
        if not generate:
            raise BadCredentials(f"no root credentials: neither {ACCESS_VARIABLE} nor {path}") from None
    except OSError as error:
        raise BadCredentials(f"{path}: {error.strerror}") from error
    return Root(_make(path), str(path), new=True)


def metrics_token(root: RootCredential) -> str:
    """The bearer token that reads /-/metrics and nothing else: for a Prometheus, which cannot sign requests."""
    return hmac.new(root.secret_key.encode(), b"stratum metrics v1", hashlib.sha256).hexdigest()


def _from_environment(environment: Mapping[str, str]) -> RootCredential | None:
    access, secret = environment.get(ACCESS_VARIABLE, ""), environment.get(SECRET_VARIABLE, "")
    if not access and not secret:
        return None
    if not (access and secret):
        raise BadCredentials(f"{ACCESS_VARIABLE} and {SECRET_VARIABLE} are needed together")
    return _checked(access, secret, "the environment")


def _checked(access: str, secret: str, place: str) -> RootCredential:
    printable = (access + secret).isascii() and (access + secret).isprintable()
    if not printable or " " in access + secret or "/" in access:
        raise BadCredentials(f"{place}: the root credentials hold characters that S3 clients cannot send")
    if len(access) < ACCESS_CHARACTERS_MIN or len(secret) < SECRET_CHARACTERS_MIN:
        raise BadCredentials(
            f"{place}: the root access key needs {ACCESS_CHARACTERS_MIN} characters or more, "
            f"the secret key {SECRET_CHARACTERS_MIN}"
        )
    return RootCredential(access, secret)


def _read(path: Path) -> RootCredential:
    try:
        text = read_secret(path)
    except ReadableByOthers as error:
        raise BadCredentials(str(error)) from error
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
        section = parser["default"]
        return _checked(section["aws_access_key_id"], section["aws_secret_access_key"], str(path))
    except (configparser.Error, KeyError):  # their messages quote the file: not passed on
        raise BadCredentials(f"{path} does not hold aws_access_key_id and aws_secret_access_key") from None


def _make(path: Path) -> RootCredential:
    """Generate and keep a credential. It must outlive a power cut: others will have noted it."""
    letters = string.ascii_uppercase + string.digits
    access = "STR" + "".join(secrets.choice(letters) for _ in range(17))
    secret = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(40))
    text = f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
    try:
        write_secret(path, text)
    except OSError as error:
        raise BadCredentials(f"{path}: {error.strerror}") from error
    return RootCredential(access, secret)
