"""The XML bodies that S3 answers with.

Room: stratum/s3. May import: core, s3.{headers, http, xml}.

Source: docs.aws.amazon.com/AmazonS3/latest/API, the response syntax of each operation.
"""

from collections.abc import Iterable
from urllib.parse import quote

from stratum.core.objects import ObjectView
from stratum.core.records import Checksum
from stratum.s3.headers import iso_date
from stratum.s3.http import Response
from stratum.s3.xml import Node, node, render


def xml_answer(root: Node, headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
    """A 200 with an XML body."""
    return Response(200, [(b"content-type", b"application/xml"), *headers], render(root))


def quoted(etag: str) -> str:
    """An ETag with its quotes."""
    return f'"{etag}"'


def shown(key: bytes, *, encode: bool) -> str:
    """A key, prefix or delimiter as a listing shows it; `encode`: the client asked for encoding-type=url."""
    return quote(key, safe="/") if encode else key.decode(errors="replace")


def person_nodes(user: str, name: str) -> tuple[Node, Node]:
    """What stands in an Owner, Initiator or Grantee: canonical id and display name."""
    return node("ID", user), node("DisplayName", name)


def contents_node(view: ObjectView, *, encode: bool, owner: Node | None) -> Node:
    """One object of a listing; `owner`: as it is to be shown, if at all."""
    inode = view.inode
    parts = [
        node("Key", shown(view.key, encode=encode)),
        node("LastModified", iso_date(inode.mtime)),
        node("ETag", quoted(inode.etag)),
    ]
    if inode.checksum is not None:
        parts.append(node("ChecksumAlgorithm", inode.checksum.algorithm.upper()))
        parts.append(node("ChecksumType", inode.checksum.kind))
    parts.append(node("Size", str(inode.size)))
    if owner is not None:
        parts.append(owner)
    parts.append(node("StorageClass", inode.storage_class or "STANDARD"))
    return node("Contents", *parts)


def prefix_nodes(prefixes: Iterable[bytes], *, encode: bool) -> list[Node]:
    """The CommonPrefixes of a listing."""
    return [node("CommonPrefixes", node("Prefix", shown(prefix, encode=encode))) for prefix in prefixes]


def checksum_headers(checksum: Checksum | None) -> list[tuple[bytes, bytes]]:
    """The checksum of an object or part as headers."""
    if checksum is None:
        return []
    return [
        (b"x-amz-checksum-" + checksum.algorithm.encode(), checksum.value.encode()),
        (b"x-amz-checksum-type", checksum.kind.encode()),
    ]


def checksum_nodes(checksum: Checksum | None) -> list[tuple[str, str]]:
    """The checksum as (element, text) pairs of an XML answer."""
    if checksum is None:
        return []
    return [("Checksum" + checksum.algorithm.upper(), checksum.value), ("ChecksumType", checksum.kind)]
