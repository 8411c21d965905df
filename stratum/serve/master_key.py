"""The master keys: from the environment or a file, else generated once and kept for their owner alone to read.

Room: stratum/serve. May import: core.config, engine.keys, serve.secret_file. None are built in.

One key a line, 32 random bytes in hex or base64, the newest last; `#` begins a remark. All of them open what they
sealed, the last one seals. To replace one: add a line, restart (what older ones sealed is sealed anew), remove the old.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum.core.config import Settings
from stratum.engine.keys import NO_MASTER_KEYS, MasterKeys
from stratum.serve.secret_file import ReadableByOthers, read_secret, write_secret

FILE_NAME = "master.key"
KEY_BYTES = 32
DIFFERENT_BYTES_MIN = 8  # of 32 random ones there are 30: fewer are somebody's idea of a key
REMARK = (
    "# The master key of this Stratum store. Without it, encrypted objects are lost: keep a copy elsewhere.\n"
    "# The last line is the newest key; see docs/decisions/0008-encryption-at-rest.md for how to replace it.\n"
)


class BadMasterKey(Exception):
    """The master keys cannot be used; the message says why, and never shows one."""


@dataclass(frozen=True, slots=True)
class Masters:
    """The master keys, where they are kept, and whether they were made just now."""

    keys: MasterKeys
    place: str = ""
    new: bool = False


def master_keys(settings: Settings, environment: Mapping[str, str]) -> Masters:
    """Find the master keys, or make one in the data folder where nothing else was said. Raises BadMasterKey."""
    variable = settings.master_key_env
    if text := environment.get(variable, ""):
        return Masters(MasterKeys(_parsed(text, variable)), f"the environment ({variable})")
    if settings.master_key_file == "none":
        return Masters(NO_MASTER_KEYS)
    generated = settings.master_key_file == "auto"
    path = Path(settings.data) / FILE_NAME if generated else Path(settings.master_key_file)
    try:
        return Masters(MasterKeys(_parsed(read_secret(path), str(path))), str(path))
    except FileNotFoundError:
        if not generated:
            raise BadMasterKey(f"{path}: there is no such file") from None
    except ReadableByOthers as error:
        raise BadMasterKey(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadMasterKey(f"{path}: {getattr(error, 'strerror', None) or 'it is not text'}") from error
    key = secrets.token_bytes(KEY_BYTES)
    try:
        write_secret(path, f"{REMARK}{base64.b64encode(key).decode()}\n")
    except OSError as error:
        raise BadMasterKey(f"{path}: {error.strerror}") from error
    return Masters(MasterKeys((key,)), str(path), new=True)


def forms(keys: MasterKeys) -> list[str]:
    """Every text that a log must never show."""
    return [form for key in keys.keys for form in (key.hex(), base64.b64encode(key).decode())]


def _parsed(text: str, place: str) -> tuple[bytes, ...]:
    words = [word for line in text.splitlines() for word in line.partition("#")[0].replace(",", " ").split()]
    keys = tuple(_key(word, place) for word in words)
    if not keys:
        raise BadMasterKey(f"{place}: it holds no key")
    if len(set(keys)) < len(keys):
        raise BadMasterKey(f"{place}: the same key stands there twice")
    return keys


def _key(word: str, place: str) -> bytes:
    try:
        key = bytes.fromhex(word) if len(word) == 2 * KEY_BYTES else base64.b64decode(word, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise BadMasterKey(f"{place}: a master key is {KEY_BYTES} random bytes, in hex or base64")
    if len(set(key)) < DIFFERENT_BYTES_MIN:
        raise BadMasterKey(f"{place}: a master key must be random (openssl rand -base64 {KEY_BYTES} makes one)")
    return key
