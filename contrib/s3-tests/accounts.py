"""The users that the suite wants, made on a running server, and the suite's configuration file that names them."""

import configparser
import secrets
import string
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from served import Served

# Section of the suite's configuration -> name of the user.
SECTIONS = {
    "s3 main": "main",
    "s3 alt": "alt",
    "s3 tenant": "tenant",
    "iam": "iam",
    "iam root": "iam-root",
    "iam alt root": "iam-alt-root",
}
USERS = "the users of the suite are users of the server, made by `stratum user create`"  # for the page


@dataclass(frozen=True, slots=True)
class Account:
    """One user with one key, as the suite names them."""

    user_id: str
    display_name: str
    email: str
    access_key: str
    secret_key: str


def make_accounts(server: Served) -> dict[str, Account]:
    """Make a user with an access key for each section."""
    return {section: make_account(server, name) for section, name in SECTIONS.items()}


def make_account(server: Served, name: str) -> Account:
    """Make one user, an account of its own, and give it a key of its own making."""
    access, secret = new_key()
    account = Account(secrets.token_hex(32), name, f"{name}@example.com", access, secret)
    server.tool("user", "create", name, "--id", account.user_id, "--email", account.email)
    file = server.base / f"{name}.secret"
    file.write_text(secret)
    server.tool("key", "create", "--user", account.user_id, "--access-key", access, "--secret-key-file", str(file))
    return account


KMS_KEYS = ("testkey-1", "testkey-2")


def make_kms_keys(server: Served) -> None:
    """Make the named keys that the suite encrypts with, if this server has such keys."""
    if server.tool("kms", "list", check=False).returncode == 0:
        for name in KMS_KEYS:
            server.tool("kms", "create", name)


def new_key() -> tuple[str, str]:
    """An access key and a secret key in the alphabet that S3 clients know."""
    letters = string.ascii_uppercase + string.digits
    return "".join(secrets.choice(letters) for _ in range(20)), secrets.token_hex(20)


def write_configuration(path: Path, server: Served, accounts: dict[str, Account], day_seconds: float | None) -> None:
    """Write the file that S3TEST_CONF names, in the form of the suite's sample."""
    url = urlsplit(server.endpoint)
    parser = configparser.RawConfigParser()
    parser["DEFAULT"] = {
        "host": str(url.hostname),
        "port": str(url.port),
        "is_secure": str(url.scheme == "https"),
        "ssl_verify": "False",
    }
    parser["fixtures"] = {
        "bucket prefix": "suite-{random}-",
        "iam name prefix": "suite-",
        "iam path prefix": "/suite/",
    }
    for section, account in accounts.items():
        parser[section] = {
            "display_name": account.display_name,
            "user_id": account.user_id,
            "email": account.email,
            "access_key": account.access_key,
            "secret_key": account.secret_key,
        }
    parser["s3 tenant"]["tenant"] = ""
    parser["s3 main"].update({"api_name": "us-east-1", "kms_keyid": KMS_KEYS[0], "kms_keyid2": KMS_KEYS[1]})
    if day_seconds is not None:
        parser["s3 main"]["lc_debug_interval"] = f"{day_seconds:g}"
    with path.open("w") as file:
        parser.write(file)
