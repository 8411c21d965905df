"""The keys of the metadata index: one prefix byte a table, big-endian ids, so byte order is number order.

Room: stratum/core. May import: core.txn.

    table                key                                        record
    n  counters          n | name                                   8 bytes, big endian (wrapped as a record: int)
    b  buckets           b | bucket name                            Bucket
    i  inodes            i | inode                                  Inode
    e  entries           e | parent inode | stored name             Entry    (a directory's stored name ends in /)
    x  manifest runs     x | content | end offset in content        Run      (gaps between runs are holes: zeros)
    c  content users     c | content | inode or part key            int 1    (who refers to the content)
    u  volume users      u | volume | content                       int      (bytes of the volume this content uses)
    v  volumes           v | volume                                 Volume
    g  garbage           g | volume                                 Garbage  (the reaper's table)
    r  repairs           r | volume | shard index (1 byte)          Repair
    p  uploads           p | upload id                              Upload
    q  upload by key     q | bucket / key / 0 / upload id           int 1    (listing of uploads in key order)
    t  parts             t | upload id | part number (4 bytes)      Part
    a  xattrs            a | inode | name                           bytes
    o  orphan inodes     o | inode                                  int 1    (no name left, still open)
    k  credentials       k | access key                             Credential
    w  other versions    w | bucket root | folded key | ~sequence   Version  (not the current object; newest first)
    z  null versions     z | bucket root | folded key               int      (sequence of the null version among `w`)
    f  configurations    f | bucket name | 0 | kind                 a record of core/<kind>.py
    y  users             y | user id                                User
    h  events            h | target | 0 | number                    Event    (to be told; removed once told)
    d  due               d | time, ns | number                      Due      (when a lifecycle rule looks again;
                                                                             core/lifecycle_due.py)
    m  named keys        m | name                                   NamedKey (of the key store; engine/keys.py)
    j  left shards       j | volume                                 LeftShards (the reaper's; core/tiers.py)
    l  left with others  l | backend | 0 | key                      LeftHeld (the reaper's; core/tiers.py)
    s  wished moves      s | volume                                 Wish     (what is to be moved; engine/mover.py)
    E  evidence          E | 2^63 + last volume                     bytes    (core/tiering/blocks.py)
    T  touches           T | day (4 bytes) | volume                 bytes    (of a day; core/tiering/blocks.py)
    G  groups            G | number (4 bytes)                       Group    (core/tiering/tables.py, as all below)
    D  decisions         D | volume                                 History
    Y  yardsticks        Y | name                                   PriceBook, Policy, State
    W  weeks             W | last day (4 bytes)                     Week
    U  last uses         U | content                                int      (a day; engine/small_uses.py)
    C  classes           C | content                                str      (its MIME type; engine/classes.py)
    H  hours             H | group (4 bytes)                        bytes    (visits by hour; core/patterns.py)
    P  packed            P | volume                                 Packed   (engine/packing.py)
    R  roles             R | name                                   Role     (core/roles.py)
    L  leaving disks     L | slot                                   Leaving  (engine/relocator.py)
    Q  usage             Q | b | bucket root, or Q | o | owner      Usage    (core/quotas.py)
    I  inventories       I | bucket | 0 | id                        InventoryRun (a list to come; core/inventory.py)
    O  outgoing          O | target | 0 | number                    Outgoing (to be replicated; core/replication.py)
    M  users by e-mail   M | address in lower case | 0 | user       int 1    (since 0.3; engine/users.py)
    S  session key       S                                          SessionKey (seals tokens; core/sessions.py)
    B  habits            B | kind (1 byte) | page (2 bytes)         bytes    (of volumes; engine/pattern_pages.py)
    N  not published     N | inode                                  int 1    (a file that was made and not closed yet)
    F  ended uploads     F | upload id                              Ended    (parts to free; core/endings.py)
    K  contents to free  K | content                                int      (runs that end above it are left)

A volume user of 2**63 and above is no content, but the volume 2**63 below whose stream rests there (core/tiers.py).
"""

import struct

from stratum.core.txn import Txn, load, save

ROOT_INODE = 1  # the directory whose entries are the buckets

COUNTER, BUCKET, INODE, ENTRY, RUN, CONTENT_USER, VOLUME_USER, VOLUME = (
    b"n", b"b", b"i", b"e", b"x", b"c", b"u", b"v",
)  # fmt: skip
GARBAGE, REPAIR, UPLOAD, UPLOAD_BY_KEY, PART, XATTR, ORPHAN, CREDENTIAL = (
    b"g", b"r", b"p", b"q", b"t", b"a", b"o", b"k",
)  # fmt: skip

VERSION, NULL_VERSION, CONFIGURATION, USER, EVENT, DUE = b"w", b"z", b"f", b"y", b"h", b"d"
NAMED_KEY = b"m"
LEFT_SHARDS, LEFT_HELD, WISH = b"j", b"l", b"s"
BLOCK, TOUCH, GROUP, HISTORY, YARDSTICK, WEEK = b"E", b"T", b"G", b"D", b"Y", b"W"
ROLE, SESSION_KEY, INVENTORY_RUN, OUTGOING, BY_EMAIL = b"R", b"S", b"I", b"O", b"M"
LAST_USE, PACKED, HOUR_PROFILE, CONTENT_CLASS = b"U", b"P", b"H", b"C"
LEAVING = b"L"
USAGE = b"Q"
NOT_PUBLISHED = b"N"
HABITS = b"B"
ENDED, DYING = b"F", b"K"
BUCKET_USAGE, OWNER_USAGE = USAGE + b"b", USAGE + b"o"

_ID = struct.Struct(">Q")
_TWO_IDS = struct.Struct(">QQ")


def bucket_key(name: str) -> bytes:
    """Key of a Bucket."""
    return BUCKET + name.encode()


def inode_key(inode: int) -> bytes:
    """Key of an Inode."""
    return INODE + _ID.pack(inode)


def entry_key(parent: int, stored_name: bytes) -> bytes:
    """Key of an Entry."""
    return ENTRY + _ID.pack(parent) + stored_name


def run_key(content: int, end: int) -> bytes:
    """Key of the Run whose last byte is `end` - 1: so a forward scan from `start` + 1 finds what covers `start`."""
    return RUN + _TWO_IDS.pack(content, end)


def run_end(key: bytes) -> int:
    """End offset in its content of the Run stored under `key`."""
    return int(_ID.unpack_from(key, 9)[0])


def content_user_key(content: int, user: bytes) -> bytes:
    """Key that says `user` (an inode id or a part key) refers to `content`."""
    return CONTENT_USER + _ID.pack(content) + user


def volume_user_key(volume: int, content: int) -> bytes:
    """Key that counts the bytes of `volume` that `content` uses."""
    return VOLUME_USER + _TWO_IDS.pack(volume, content)


def volume_key(volume: int) -> bytes:
    """Key of a Volume."""
    return VOLUME + _ID.pack(volume)


def garbage_key(volume: int) -> bytes:
    """Key of a Garbage record."""
    return GARBAGE + _ID.pack(volume)


def repair_key(volume: int, shard: int) -> bytes:
    """Key of a Repair record."""
    return REPAIR + _ID.pack(volume) + bytes((shard,))


def upload_key(upload: str) -> bytes:
    """Key of an Upload."""
    return UPLOAD + upload.encode()


def upload_by_key(bucket: str, key: bytes, upload: str) -> bytes:
    """Key that lists uploads of a bucket in key order."""
    return UPLOAD_BY_KEY + bucket.encode() + b"/" + key + b"\0" + upload.encode()


def part_key(upload: str, number: int) -> bytes:
    """Key of a Part."""
    return PART + upload.encode() + number.to_bytes(4, "big")


def xattr_key(inode: int, name: bytes) -> bytes:
    """Key of an extended attribute."""
    return XATTR + _ID.pack(inode) + name


def orphan_key(inode: int) -> bytes:
    """Key that marks an inode without a name that is still open."""
    return ORPHAN + _ID.pack(inode)


def not_published_key(inode: int) -> bytes:
    """Key of the mark of a file with a name that was never published."""
    return NOT_PUBLISHED + _ID.pack(inode)


def credential_key(access_key: str) -> bytes:
    """Key of a Credential."""
    return CREDENTIAL + access_key.encode()


def versions_prefix(root: int, key: bytes) -> bytes:
    """Below it are the versions of one key of the bucket with directory `root`, newest first."""
    return VERSION + _ID.pack(root) + fold(key)


def version_key(root: int, key: bytes, sequence: int) -> bytes:
    """Key of a Version."""
    return versions_prefix(root, key) + _ID.pack(2**64 - 1 - sequence)


def null_version_key(root: int, key: bytes) -> bytes:
    """Key of the sequence of the null version of a key, where that is not the current object."""
    return NULL_VERSION + _ID.pack(root) + fold(key)


def fold(key: bytes) -> bytes:
    """A key so ended that no folded key is the beginning of another, and byte order stays: 0 becomes 0 ff, end 0 0."""
    return key.replace(b"\0", b"\0\xff") + b"\0\0"


def unfold(folded: bytes) -> bytes:
    """The key that was folded; `folded` may go on behind it."""
    at = folded.index(b"\0")
    while folded[at + 1] != 0:
        at = folded.index(b"\0", at + 2)
    return folded[:at].replace(b"\0\xff", b"\0")


def configuration_key(bucket: str, kind: str) -> bytes:
    """Key of one configuration of a bucket."""
    return CONFIGURATION + bucket.encode() + b"\0" + kind.encode()


def user_key(user: str) -> bytes:
    """Key of a User."""
    return USER + user.encode()


def events_prefix(target: str) -> bytes:
    """Below it are the events that a target is still to be told, in order."""
    return EVENT + target.encode() + b"\0"


def event_key(target: str, number: int) -> bytes:
    """Key of an Event."""
    return events_prefix(target) + _ID.pack(number)


def due_key(time_ns: int, number: int) -> bytes:
    """Key of a Due."""
    return DUE + _TWO_IDS.pack(time_ns, number)


def named_key_key(name: str) -> bytes:
    """Key of a NamedKey."""
    return NAMED_KEY + name.encode()


def left_shards_key(volume: int) -> bytes:
    """Key of a LeftShards."""
    return LEFT_SHARDS + _ID.pack(volume)


def left_held_key(backend: str, key: str) -> bytes:
    """Key of a LeftHeld."""
    return LEFT_HELD + backend.encode() + b"\0" + key.encode()


def wish_key(volume: int) -> bytes:
    """Key of a Wish."""
    return WISH + _ID.pack(volume)


def inventory_run_key(bucket: str, name: str) -> bytes:
    """Key of an InventoryRun."""
    return INVENTORY_RUN + bucket.encode() + b"\0" + name.encode()


def outgoing_prefix(target: str) -> bytes:
    """Below it are the versions that are still to go to a target, in order."""
    return OUTGOING + target.encode() + b"\0"


def outgoing_key(target: str, number: int) -> bytes:
    """Key of an Outgoing."""
    return outgoing_prefix(target) + _ID.pack(number)


def by_email_key(email: str, user: str = "") -> bytes:
    """Key that says who has an e-mail address; without `user`, what all those of that address begin with."""
    return BY_EMAIL + email.casefold().encode() + b"\0" + user.encode()


def role_key(name: str) -> bytes:
    """Key of a Role."""
    return ROLE + name.encode()


def leaving_key(slot: int) -> bytes:
    """Key of a Leaving."""
    return LEAVING + _ID.pack(slot)


def bucket_usage_key(root: int) -> bytes:
    """Key of the Usage of a bucket."""
    return BUCKET_USAGE + _ID.pack(root)


def owner_usage_key(owner: str) -> bytes:
    """Key of the Usage of all buckets of an owner (canonical id)."""
    return OWNER_USAGE + owner.encode()


def last_use_key(content: int) -> bytes:
    """Key of the day on which a small content was last used."""
    return LAST_USE + _ID.pack(content)


def hour_profile_key(group: int) -> bytes:
    """Key of the hours at which a group is read."""
    return HOUR_PROFILE + group.to_bytes(4, "big")


def content_class_key(content: int) -> bytes:
    """Key of what a content was found to be."""
    return CONTENT_CLASS + _ID.pack(content)


def habit_key(kind: int, page: int) -> bytes:
    """Key of a page of habits."""
    return HABITS + bytes((kind,)) + page.to_bytes(2, "big")


def packed_key(volume: int) -> bytes:
    """Key of a Packed."""
    return PACKED + _ID.pack(volume)


def ended_key(upload: str) -> bytes:
    """Key of an Ended."""
    return ENDED + upload.encode()


def dying_key(content: int) -> bytes:
    """Key that says a content is to be freed, and how far one has come."""
    return DYING + _ID.pack(content)


def id_of(key: bytes, at: int = 1) -> int:
    """The big-endian id at byte `at` of a key."""
    return int(_ID.unpack_from(key, at)[0])


def take_number(txn: Txn, counter: str, count: int = 1) -> int:
    """Reserve `count` numbers of a counter, return the first (numbers begin at 16, below is reserved)."""
    key = COUNTER + counter.encode()
    first = load(txn, key, int) or 16
    save(txn, key, first + count)
    return first
