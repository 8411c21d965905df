"""A tree of real files to copy about, made of what the machine has: regular files, no links, names that are UTF-8.

aws-cli follows links to folders and leaves out what is neither file nor folder, so a system folder as it is cannot
be compared name by name.
"""

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

SOURCES = [Path("/usr/include"), Path("/usr/share"), Path("/usr/lib")]  # any Debian has the last two
FILES = 8_000
FILES_MIN = 1_000  # below that it says nothing
FILE_BYTES_MAX = 4 * 1024**2


def make_from_machine(target: Path, *, files: int = FILES, sources: Sequence[Path] = SOURCES) -> int:
    """Fill `target` from the machine's own folders; return the number of files. Raises RuntimeError."""
    count = make(target, sources, files=files, file_bytes=FILE_BYTES_MAX)
    if count < min(files, FILES_MIN):
        raise RuntimeError(f"only {count} files in {[str(each) for each in sources]}: name a folder with --tree")
    return count


def make(target: Path, sources: Sequence[Path], *, files: int, file_bytes: int) -> int:
    """Copy at most so many regular files of at most so many bytes, with their times; return how many."""
    count = 0
    for source in sources:
        for path in _regular_files(source, file_bytes):
            if count == files:
                return count
            copy = target / source.name / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy, follow_symlinks=False)
            count += 1
    return count


def _regular_files(folder: Path, size_max: int) -> Iterator[Path]:
    """In the order of their names, so that the same machine makes the same tree."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size <= size_max and _can_be_copied(path):
                yield path


def _can_be_copied(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return os.access(path, os.R_OK)
