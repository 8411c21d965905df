"""What both doors do to a bucket's names, on whole paths: the model that the tree is held against.

Room: tests. May import: stratum.core.
"""

from stratum.core.errors import (
    DirectoryNotEmpty,
    EntryExists,
    InvalidArgument,
    IsADirectory,
    NoSuchKey,
    NotADirectory,
)


def above(key: bytes) -> list[bytes]:
    """The directories on the way to a key, the deepest first; a directory is not above itself."""
    return [key[: at + 1] for at in range(len(key) - 2, -1, -1) if key[at : at + 1] == b"/"]


class PathModel:
    """`objects`: key to inode. `directories`: path (ends in a slash) to whether it is explicit.

    An inode of an even number has no bytes.
    """

    def __init__(self) -> None:
        self.objects: dict[bytes, int] = {}
        self.directories: dict[bytes, bool] = {b"": True}

    def listing(self) -> list[bytes]:
        """What S3 lists."""
        return sorted({*self.objects, *(path for path in self.directories if path and self.is_empty(path))})

    def names(self) -> set[bytes]:
        """What the mount can ask for: a directory with its slash, an object without."""
        return {*self.directories, *(key for key in self.objects if not key.endswith(b"/"))}

    def is_empty(self, path: bytes) -> bool:
        inside = any(key.startswith(path) for key in self.objects)
        return not inside and not any(other.startswith(path) and other != path for other in self.directories)

    def put(self, key: bytes, inode: int) -> None:
        for path in above(key + b"x"):
            self.directories.setdefault(path, False)
        self.objects[key] = inode

    def remove(self, key: bytes) -> bool:
        if key not in self.objects and key not in self.listing():
            return False
        self.objects.pop(key, None)
        for path in above(key + b"x"):
            if not self.is_empty(path) or (self.directories[path] and path != key):
                break
            del self.directories[path]
        return True

    def make(self, path: bytes, inode: int | None, *, beside: bool = False) -> None:
        """Make a file with an inode, or a directory (whose path ends in a slash)."""
        base = path.removesuffix(b"/")
        taken = {base, base + b"/"} if not beside else {path}
        if taken & self.names():
            raise EntryExists
        if inode is None:
            self.directories[path] = True
        else:
            self.objects[path] = inode

    def unlink(self, path: bytes) -> None:
        if path in self.directories:
            raise IsADirectory
        if path not in self.names():
            raise NoSuchKey
        del self.objects[path]
        self._keep(path)

    def rmdir(self, path: bytes) -> None:
        if path in self.names() and path not in self.directories:
            raise NotADirectory
        if path not in self.directories:
            raise NoSuchKey
        if self._marked(path):
            del self.objects[path]
        if not self.is_empty(path):
            raise DirectoryNotEmpty
        del self.directories[path]
        self._keep(path)

    def rename(self, old: bytes, new: bytes, *, noreplace: bool, exchange: bool, beside: bool) -> None:
        there = self.names()
        if old not in there:
            raise NoSuchKey
        base = new.removesuffix(b"/")
        wanted = base + b"/" * old.endswith(b"/")
        target = next((path for path in ((new, wanted) if beside else (base + b"/", base)) if path in there), None)
        if target is not None and noreplace:
            raise EntryExists
        self._check_not_into(old, above(wanted))
        if exchange:
            if target is None:
                raise NoSuchKey
            self._check_not_into(target, above(old))
            self._exchange(old, target)
        elif target is None:
            self._move({old: wanted})
            self._keep(old)
        elif not self._same(old, target):
            self._replace(old, target)

    def _check_not_into(self, moving: bytes, way: list[bytes]) -> None:
        if moving.endswith(b"/") and moving in way:
            raise InvalidArgument

    def _same(self, old: bytes, target: bytes) -> bool:
        if old.endswith(b"/") or target.endswith(b"/"):
            return old == target
        return self.objects[old] == self.objects[target]

    def _replace(self, old: bytes, target: bytes) -> None:
        if old.endswith(b"/") and not target.endswith(b"/"):
            raise NotADirectory
        if target.endswith(b"/") and not old.endswith(b"/"):
            raise IsADirectory
        if self._marked(target) or not target.endswith(b"/"):
            del self.objects[target]
        if target in self.directories and not self.is_empty(target):
            raise DirectoryNotEmpty
        self.directories.pop(target, None)
        self._move({old: target})
        self._keep(old)

    def _exchange(self, old: bytes, target: bytes) -> None:
        if self._same(old, target):
            return
        places = {
            old: target.removesuffix(b"/") + b"/" * old.endswith(b"/"),
            target: old.removesuffix(b"/") + b"/" * target.endswith(b"/"),
        }
        if set(places.values()) & (self.names() - {old, target}):
            raise EntryExists
        self._move(places)

    def _move(self, places: dict[bytes, bytes]) -> None:
        def moved(path: bytes) -> bytes:
            for old, new in places.items():
                if path == old or (old.endswith(b"/") and path.startswith(old)):
                    return new + path[len(old) :]
            return path

        self.objects = {moved(key): inode for key, inode in self.objects.items()}
        self.directories = {moved(path): explicit for path, explicit in self.directories.items()}

    def _keep(self, path: bytes) -> None:
        """What lost its last entry through the mount stays."""
        parent = above(path)[0] if above(path) else b""
        if parent in self.directories and self.is_empty(parent):
            self.directories[parent] = True

    def _marked(self, path: bytes) -> bool:
        """Nothing is in the directory but the object of its own name, without bytes."""
        inside = [key for key in {*self.objects, *self.directories} if key.startswith(path) and key != path]
        return path.endswith(b"/") and not inside and path in self.objects and self.objects[path] % 2 == 0
