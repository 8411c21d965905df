import base64
import stat
from dataclasses import replace

import pytest

from stratum.core.config import Settings
from stratum.serve.logs import clean, hide
from stratum.serve.master_key import BadMasterKey, forms, master_keys

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
OLD64, NEW64 = (base64.b64encode(key).decode() for key in (OLD, NEW))


@pytest.fixture
def settings(tmp_path):
    return Settings(data=tmp_path / "data", disks=())


def test_the_first_start_makes_a_key_for_its_owner_alone_and_later_ones_find_it(settings):
    made = master_keys(settings, {})
    path = settings.data / "master.key"
    assert (made.new, made.place) == (True, str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = master_keys(settings, {})
    assert (found.keys, found.new) == (made.keys, False)
    assert len(made.keys.newest) == 32


def test_two_stores_never_get_the_same_key(settings, tmp_path):
    other = replace(settings, data=tmp_path / "other")
    assert master_keys(settings, {}).keys != master_keys(other, {}).keys


@pytest.mark.parametrize(
    "text", [f"{OLD64}\n{NEW64}\n", f"{OLD.hex()} {NEW.hex()}", f"# old\n{OLD64}  # of 2025\n\n{NEW.hex().upper()}"]
)
def test_several_keys_may_stand_in_a_file_or_a_variable_the_newest_last(settings, tmp_path, text):
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(0o400)
    from_file = master_keys(replace(settings, master_key_file=str(path)), {})
    from_variable = master_keys(replace(settings, master_key_env="MY_KEYS"), {"MY_KEYS": text})
    assert from_file.keys.keys == from_variable.keys.keys == (OLD, NEW)
    assert from_file.keys.newest == NEW
    assert not settings.data.exists()


def test_none_means_none(settings):
    found = master_keys(replace(settings, master_key_file="none"), {})
    assert found.keys.keys == () and not settings.data.exists()


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "no key"),
        ("# only a remark", "no key"),
        (OLD64[:-4], "32 random bytes"),
        (OLD.hex()[:-2], "32 random bytes"),
        ("a passphrase, perhaps", "32 random bytes"),
        (f"{OLD64}\n{OLD.hex()}", "twice"),
        ("00" * 32, "must be random"),
        (base64.b64encode(b"abc" * 10 + b"ab").decode(), "must be random"),
    ],
)
def test_what_is_no_random_key_is_refused_without_being_shown(settings, tmp_path, text, word):
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(BadMasterKey, match=word) as caught:
        master_keys(replace(settings, master_key_file=str(path)), {})
    assert not text or text not in str(caught.value)


def test_a_key_file_that_was_named_is_never_made(settings, tmp_path):
    with pytest.raises(BadMasterKey, match="no such file"):
        master_keys(replace(settings, master_key_file=str(tmp_path / "lost")), {})
    assert not (tmp_path / "lost").exists()


def test_a_key_file_that_others_can_read_is_refused(settings):
    master_keys(settings, {})
    (settings.data / "master.key").chmod(0o640)
    with pytest.raises(BadMasterKey, match="chmod 600"):
        master_keys(settings, {})


def test_no_repr_and_no_log_shows_a_key(settings):
    made = master_keys(settings, {})
    for form in forms(made.keys):
        assert form not in repr(made)
        hide(form)
        assert form not in clean(f"something went wrong with {form}")
    assert NEW64 not in clean(f"x-amz-server-side-encryption-customer-key: {NEW64}")
    assert NEW64 not in clean(f"(b'x-amz-server-side-encryption-customer-key', b'{NEW64}')")
