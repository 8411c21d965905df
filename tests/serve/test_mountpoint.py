from dataclasses import replace
from pathlib import Path

import pytest

from stratum.core.config import WarmTier
from stratum.serve import mountpoint
from stratum.serve.mountpoint import BadMountpoint, clear_dead_mount, mounts, prepare_mountpoint
from stratum.serve.settings_file import load_settings


@pytest.fixture
def settings(tmp_path):
    return load_settings(None, {"STRATUM_STORE_DATA": str(tmp_path / "data")}).settings


def test_a_missing_folder_is_made_and_the_path_made_absolute(tmp_path, settings, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert prepare_mountpoint(Path("deep/mnt"), settings) == tmp_path / "deep/mnt"
    assert (tmp_path / "deep/mnt").is_dir()


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path, settings):
    (tmp_path / "mnt").mkdir()
    (tmp_path / "mnt/precious").write_text("x")
    with pytest.raises(BadMountpoint, match="not empty"):
        prepare_mountpoint(tmp_path / "mnt", settings)


def test_what_is_no_folder_is_refused(tmp_path, settings):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadMountpoint, match="exists"):
        prepare_mountpoint(tmp_path / "file", settings)


def test_a_busy_mount_point_is_refused(settings):
    with pytest.raises(BadMountpoint, match="in use"):
        prepare_mountpoint(Path("/proc"), settings)


@pytest.mark.parametrize("below", ["", "store", "deep/store"])
def test_a_mount_cannot_contain_its_own_store(tmp_path, below):
    settings = load_settings(None, {"STRATUM_STORE_DATA": str(tmp_path / "mnt" / below)}).settings
    with pytest.raises(BadMountpoint, match="cannot contain"):
        prepare_mountpoint(tmp_path / "mnt", settings)


def test_a_mount_cannot_contain_the_keys_or_the_warm_disks(tmp_path, settings):
    (tmp_path / "mnt").mkdir()
    inside = tmp_path / "mnt/it"
    for named in (
        {"tls_certificate": inside},
        {"tls_key": inside},
        {"master_key_file": str(inside)},
        {"warm": WarmTier(disks=(inside,))},
    ):
        with pytest.raises(BadMountpoint, match="cannot contain"):
            prepare_mountpoint(tmp_path / "mnt", replace(settings, **named))


def test_mounts_of_others_are_never_taken_away():
    assert mounts()[Path("/proc")] == "proc"
    assert not clear_dead_mount(Path("/proc"))


def test_names_with_spaces_are_read_as_they_are(monkeypatch, tmp_path):
    table = tmp_path / "mounts"
    table.write_text(r"stratum /mnt/my\040disk fuse.stratumfs rw 0 0" + "\n")
    monkeypatch.setattr(mountpoint, "MOUNTS", table)
    assert mounts() == {Path("/mnt/my disk"): "fuse.stratumfs"}
