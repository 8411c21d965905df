"""A pyfuse3 file system in memory that does next to nothing: what any file system in Python costs on this machine.

Usage: contrib/bench/empty_mount.py FOLDER      until it is unmounted. Needs root. No checks, nothing is kept.
"""

import errno
import os
import stat
import sys
import time

import pyfuse3
import trio

FOREVER = 60.0


class Node:
    """A file or folder."""

    def __init__(self, number: int, mode: int) -> None:
        self.number, self.mode = number, mode
        self.content = bytearray()
        self.children: dict[bytes, int] = {}
        self.made = time.time_ns()


class EmptyMount(pyfuse3.Operations):
    """Names to nodes, nodes to bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = {pyfuse3.ROOT_INODE: Node(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755)}

    def _make(self, parent: int, name: bytes, mode: int) -> Node:
        node = Node(len(self.nodes) + 10**6, mode)
        self.nodes[node.number] = node
        self.nodes[parent].children[name] = node.number
        return node

    def _attributes(self, node: Node) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino, entry.st_mode, entry.st_nlink = node.number, node.mode, 1
        entry.st_size, entry.st_blksize = len(node.content), 4096
        entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = node.made
        entry.entry_timeout = entry.attr_timeout = FOREVER
        return entry

    async def getattr(self, inode, ctx=None):
        return self._attributes(self.nodes[inode])

    async def setattr(self, inode, attr, fields, fh, ctx):
        if fields.update_size:
            del self.nodes[inode].content[attr.st_size :]
        return self._attributes(self.nodes[inode])

    async def lookup(self, parent_inode, name, ctx=None):
        number = self.nodes[parent_inode].children.get(name)
        if number is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._attributes(self.nodes[number])

    async def mkdir(self, parent_inode, name, mode, ctx):
        return self._attributes(self._make(parent_inode, name, stat.S_IFDIR | mode))

    async def create(self, parent_inode, name, mode, flags, ctx):
        node = self._make(parent_inode, name, stat.S_IFREG | mode)
        return pyfuse3.FileInfo(fh=node.number), self._attributes(node)

    async def open(self, inode, flags, ctx):
        return pyfuse3.FileInfo(fh=inode, keep_cache=True)

    async def opendir(self, inode, ctx):
        return inode

    async def read(self, fh, off, size):
        return bytes(self.nodes[fh].content[off : off + size])

    async def write(self, fh, off, buf):
        self.nodes[fh].content[off : off + len(buf)] = buf
        return len(buf)

    async def getxattr(self, inode, name, ctx):
        raise pyfuse3.FUSEError(errno.ENODATA)

    async def rename(self, parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx):
        self.nodes[parent_inode_new].children[name_new] = self.nodes[parent_inode_old].children.pop(name_old)

    async def unlink(self, parent_inode, name, ctx):
        self.nodes[self.nodes[parent_inode].children.pop(name)].content.clear()

    async def rmdir(self, parent_inode, name, ctx):
        del self.nodes[parent_inode].children[name]

    async def readdir(self, fh, start_id, token):
        children = list(self.nodes[fh].children.items())
        for place, (name, number) in enumerate(children[start_id:], start_id + 1):
            if not pyfuse3.readdir_reply(token, name, self._attributes(self.nodes[number]), place):
                return

    async def flush(self, fh):
        pass

    async def release(self, fh):
        pass

    async def releasedir(self, fh):
        pass

    async def fsync(self, fh, datasync):
        pass

    async def forget(self, inode_list):
        pass


def main() -> None:
    options = set(pyfuse3.default_options) | {"fsname=empty", "default_permissions"}
    pyfuse3.init(EmptyMount(), os.path.abspath(sys.argv[1]), options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main()
