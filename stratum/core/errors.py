"""Everything that may go wrong on purpose, in one tree (law 10).

Room: stratum/core. May import: nothing.

Each door translates a class once, from a table, by the nearest ancestor that the table names: `s3/errors.py`
to S3 codes, `stratumfs/errnos.py` to errno. An exception outside this tree is a bug of ours.
"""


class StratumError(Exception):
    """Base of every error the engine raises on purpose. Never raised itself."""


# --- a statement of fact: it is not there ---------------------------------------------------------------------


class NotFound(StratumError):
    """What was named does not exist. Never raised for "could not read"."""


class NoSuchBucket(NotFound):
    """No bucket of that name."""


class NoSuchKey(NotFound):
    """No published object (S3) or no directory entry (mount) of that name."""


class NoSuchVersion(NotFound):
    """No version of that id for that key."""


class MarkerFound(NoSuchKey):
    """The version that was meant is a delete marker. `version`: its id as S3 shows it.

    `asked`: it was asked for by its id; else it is the current version, so that the key reads as absent.
    """

    version = ""
    asked = False

    def __init__(self, version: str, *, asked: bool = False) -> None:
        super().__init__(f"delete marker {version}")
        self.version, self.asked = version, asked


class NoSuchUpload(NotFound):
    """No multipart upload of that id for that key."""


class NoSuchInode(NotFound):
    """The inode number is not, or no longer, in use."""


class NoSuchAttribute(NotFound):
    """No extended attribute of that name."""


class NoSuchCredential(NotFound):
    """No credential with that access key."""


class NoSuchUser(NotFound):
    """No user of that canonical id."""


class NoSuchTenant(NotFound):
    """No tenant of that id."""


class NoSuchRole(NotFound):
    """No role of that name."""


class NoSuchPolicy(NotFound):
    """The user has no policy of that name."""


# --- the request contradicts the state ------------------------------------------------------------------------


class Conflict(StratumError):
    """The request is well formed but contradicts what exists."""


class BucketExists(Conflict):
    """A bucket of that name exists already."""


class BucketNotEmpty(Conflict):
    """The bucket still holds objects, directories or uploads."""


class UserExists(Conflict):
    """There is a user of that id, name or e-mail address already."""


class UserOwnsBuckets(Conflict):
    """The user cannot be deleted: it still owns buckets."""


class CredentialExists(Conflict):
    """The access key is in use already."""


class EntryExists(Conflict):
    """The directory entry exists already (EEXIST)."""


class DirectoryNotEmpty(Conflict):
    """The directory holds entries (ENOTEMPTY)."""


class NotADirectory(Conflict):
    """A directory was needed (ENOTDIR)."""


class IsADirectory(Conflict):
    """Something other than a directory was needed (EISDIR)."""


class CrossesBuckets(Conflict):
    """The operation would link or move what must stay inside one bucket (EXDEV)."""


class AttributeExists(Conflict):
    """The extended attribute exists already (XATTR_CREATE)."""


class TooManyLinks(Conflict):
    """The inode has as many hard links as a record can count (EMLINK)."""


class SourceChanged(Conflict):
    """The source of a copy is no longer what was read of it."""


class PreconditionFailed(Conflict):
    """A condition of the request (If-Match, If-None-Match ...) does not hold at commit."""


# --- the request itself is wrong ------------------------------------------------------------------------------


class Invalid(StratumError):
    """The request can never succeed as it stands."""


class InvalidArgument(Invalid):
    """A value is out of its range or shape."""


class InvalidBucketName(Invalid):
    """Not a name S3 allows for a bucket."""


class KeyTooLong(Invalid):
    """A key over 1024 bytes of UTF-8."""


class NameTooLong(Invalid):
    """A file name over 255 bytes (ENAMETOOLONG)."""


class RangeNotSatisfiable(Invalid):
    """The range begins at or after the end of the object."""


class InvalidPart(Invalid):
    """A part named by Complete is missing or has another ETag."""


class InvalidPartOrder(Invalid):
    """The parts named by Complete are not in ascending order."""


class PartTooSmall(Invalid):
    """A part other than the last is under 5 MiB."""


class TooLarge(Invalid):
    """Over the limit for one object, part or file (EFBIG)."""


class MetadataTooLarge(Invalid):
    """User metadata or an extended attribute over its limit."""


class InvalidTag(Invalid):
    """A tag, or a set of tags, that S3 does not allow."""


class MalformedPolicy(Invalid):
    """A policy is not JSON, or does not say what a policy must say. The text tells the client what is wrong."""


class WrongSize(Invalid):
    """The parts of an upload do not add up to the size that Complete was told."""


class BadDigest(Invalid):
    """The bytes received do not match the checksum or digest sent with them."""


class IncompleteBody(Invalid):
    """Fewer or more bytes came than were declared."""


class NotPermitted(Invalid):
    """The operation is not allowed on this kind of thing (EPERM)."""


class Locked(NotPermitted):
    """Retention or a legal hold forbids to delete or change the version."""


class NotSealing(Invalid):
    """Encryption was asked for, but the server was started without a master key."""


class BadSession(Invalid):
    """A session token that this store did not give out, or not with that access key."""


class ExpiredSession(Invalid):
    """A session token whose time is over."""


class BadIdentity(Invalid):
    """A token of an identity provider that is not accepted; `str()` is what its holder may be told."""


class ExpiredIdentity(BadIdentity):
    """A token of an identity provider whose time is over."""


class UnknownSigner(BadIdentity):
    """A token that is signed with a key its provider does not publish (yet)."""


class CustomerKeyNeeded(NotPermitted):
    """The object is encrypted with its owner's key, and none came with the request (EACCES)."""


class CustomerKeyWrong(CustomerKeyNeeded):
    """The object is encrypted with another key than the one that came with the request."""


class CustomerKeyUnwanted(Invalid):
    """A key came with the request, but the object is not encrypted with its owner's key."""


class NoSuchNamedKey(Invalid):
    """No key of that name in the key store."""


# --- healthy request, but not able now ------------------------------------------------------------------------


class Unavailable(StratumError):
    """Not able now; the same request may succeed later."""


class TooFewShards(Unavailable):
    """Fewer than k good shards can be read: the bytes cannot be rebuilt now."""


class TooFewDisks(Unavailable):
    """Too few disks in service to acknowledge a write with redundancy."""


class StoreFull(Unavailable):
    """No room on the disks (ENOSPC)."""


class QuotaExceeded(Unavailable):
    """A bucket, or an owner, would hold more than its quota allows (EDQUOT)."""


class ReadOnly(Unavailable):
    """The store accepts no writes (a metadata commit failed, or it is closing)."""


class Busy(Unavailable):
    """A named limit of work under way is reached."""


class NoMasterKey(Unavailable):
    """The master key that the keys of this store are sealed with is not at hand."""


class NotDelivered(Unavailable):
    """A target of notifications could not be reached, or did not take a message."""


class DiskFailed(Unavailable):
    """A call on one disk failed; the disk is out of service."""


# --- something on disk is not what was written ----------------------------------------------------------------


class Corrupt(StratumError):
    """Bytes on a disk fail their check."""


class CorruptRecord(Corrupt):
    """A metadata record fails its checksum or has an unknown version."""


class CorruptJournal(Corrupt):
    """The journal has a gap or a bad record before its end."""


class CorruptSeal(Corrupt):
    """Encrypted bytes are not what was stored, or not under the key they were stored with."""


class WrongKey(Corrupt):
    """A wrapped key does not open with the key that should open it."""


class ForeignDisk(Corrupt):
    """A disk belongs to another store, is not mounted, or has no identity where one is expected."""


class StoreLocked(StratumError):
    """Another process has this store open."""
