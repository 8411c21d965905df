"""The tree of files that the evidence copies about: regular files only, whatever the machine's folders hold."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "contrib" / "evidence"))

import trees  # noqa: E402 - the folder is on the path only now


@pytest.fixture
def source(tmp_path):
    made = tmp_path / "source"
    (made / "a" / "b").mkdir(parents=True)
    (made / "a" / "one").write_bytes(b"1")
    (made / "a" / "b" / "two").write_bytes(b"22")
    (made / "a" / "large").write_bytes(b"x" * 1000)
    (made / "to-file").symlink_to(made / "a" / "one")
    (made / "to-folder").symlink_to(made / "a")
    (made / "nowhere").symlink_to("not there")
    os.mkfifo(made / "pipe")
    (made / os.fsdecode(b"caf\xe9")).write_bytes(b"a name that aws-cli cannot say")
    return made


def test_only_regular_files_are_taken_and_no_link_is_followed(source, tmp_path):
    trees.make(tmp_path / "tree", [source], files=100, file_bytes=100)
    found = {str(each.relative_to(tmp_path / "tree")) for each in (tmp_path / "tree").rglob("*")}
    assert found == {"source", "source/a", "source/a/one", "source/a/b", "source/a/b/two"}
    assert not any(each.is_symlink() for each in (tmp_path / "tree").rglob("*"))


def test_a_tree_has_at_most_so_many_files(source, tmp_path):
    assert trees.make(tmp_path / "tree", [source, source / "a"], files=2, file_bytes=10_000) == 2


def test_folders_that_are_not_there_are_passed_over(source, tmp_path):
    assert trees.make(tmp_path / "tree", [tmp_path / "missing", source / "a"], files=100, file_bytes=100) == 2


def test_a_tree_of_too_few_files_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="--tree"):
        trees.make_from_machine(tmp_path / "tree", sources=[tmp_path])
