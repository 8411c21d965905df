import os
import re

import pytest

from stratum.serve.credentials_file import BadCredentials, root_credential

CANARY = "CanaryCanaryCanaryCanary"


def test_credentials_are_made_once_and_kept_for_their_owner_alone(tmp_path):
    first = root_credential(tmp_path / "data", {})
    again = root_credential(tmp_path / "data", {})
    assert first.new and not again.new
    assert first.credential == again.credential
    assert (tmp_path / "data/credentials").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["credentials"]
    assert root_credential(tmp_path / "other", {}).credential != first.credential


def test_what_is_made_is_long_and_needs_no_quoting(tmp_path):
    made = root_credential(tmp_path, {}).credential
    assert re.fullmatch("[A-Z0-9]{20}", made.access_key)
    assert re.fullmatch("[A-Za-z0-9]{40}", made.secret_key)


def test_the_environment_comes_first_and_nothing_is_written(tmp_path):
    found = root_credential(tmp_path, {"STRATUM_ROOT_ACCESS_KEY": "admin", "STRATUM_ROOT_SECRET_KEY": CANARY})
    assert (found.credential.access_key, found.credential.secret_key) == ("admin", CANARY)
    assert not found.new and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "environment",
    [
        {"STRATUM_ROOT_ACCESS_KEY": "admin"},
        {"STRATUM_ROOT_SECRET_KEY": CANARY},
        {"STRATUM_ROOT_ACCESS_KEY": "admin", "STRATUM_ROOT_SECRET_KEY": "short"},
        {"STRATUM_ROOT_ACCESS_KEY": "ad/min", "STRATUM_ROOT_SECRET_KEY": CANARY},
        {"STRATUM_ROOT_ACCESS_KEY": "admin", "STRATUM_ROOT_SECRET_KEY": CANARY + "\n"},
        {"STRATUM_ROOT_ACCESS_KEY": "ädmin", "STRATUM_ROOT_SECRET_KEY": CANARY},
    ],
)
def test_half_or_weak_credentials_are_refused_without_showing_them(tmp_path, environment):
    with pytest.raises(BadCredentials) as caught:
        root_credential(tmp_path, environment)
    assert CANARY not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_others_can_read_is_refused(tmp_path):
    root_credential(tmp_path, {})
    os.chmod(tmp_path / "credentials", 0o640)
    with pytest.raises(BadCredentials, match="chmod 600"):
        root_credential(tmp_path, {})


@pytest.mark.parametrize("text", ["", "[default]\n", CANARY, f"[default]\naws_secret_access_key = {CANARY}\n"])
def test_a_damaged_file_is_refused_never_replaced_and_never_quoted(tmp_path, text):
    path = tmp_path / "credentials"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(BadCredentials) as caught:
        root_credential(tmp_path, {})
    assert CANARY not in str(caught.value)
    assert path.read_text() == text


def test_a_symlink_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("[default]\n")
    (tmp_path / "credentials").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadCredentials):
        root_credential(tmp_path, {})


def test_a_client_never_makes_credentials(tmp_path):
    with pytest.raises(BadCredentials, match="no root credentials"):
        root_credential(tmp_path, {}, generate=False)
    assert not list(tmp_path.iterdir())


def test_no_repr_shows_the_secret(tmp_path):
    root = root_credential(tmp_path, {})
    assert root.credential.secret_key not in repr(root) + str(root) + f"{root.credential}"
