"""XML in and out: bodies parsed under caps, answers written with everything escaped.

Room: stratum/s3. May import: core.errors.

Invariants
    X1  No DTD, no entity, no external reference is ever read; depth and number of elements are capped, whatever
        the version of expat on the machine does.
    X2  Answers are trees of nodes; text is escaped in one place, when a tree is written.
"""

import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from stratum.core.errors import Invalid

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
DEPTH_MAX = 32
ELEMENTS_MAX = 120_000  # 10,000 parts with number, ETag and every checksum


class MalformedXml(Invalid):
    """A body is not well formed, is over a cap, has a DTD, or has another root element."""


@dataclass(slots=True)
class Node:
    """An element: name without namespace, its own text, its children in order. One of ours has text or children."""

    name: str
    text: str = ""
    children: list["Node"] = field(default_factory=list)
    attributes: str = ""  # of one of ours: as they stand in the tag, with a space in front; never text from outside


def node(name: str, *content: "Node | str") -> Node:
    """Return an element with the given text and children."""
    made = Node(name)
    for part in content:
        if isinstance(part, Node):
            made.children.append(part)
        else:
            made.text += part
    return made


def children(parent: Node, name: str) -> list[Node]:
    """Return the children of that name."""
    return [child for child in parent.children if child.name == name]


def child_text(parent: Node, name: str) -> str | None:
    """Return the text of the first child of that name, or None if there is none."""
    return next((child.text for child in parent.children if child.name == name), None)


# --- reading --------------------------------------------------------------------------------------------------


class _Builder:
    """Target of the parser: builds nodes, counts depth and elements."""

    def __init__(self) -> None:
        self._open: list[Node] = []
        self._texts: list[list[str]] = []
        self._count = 0
        self._root: Node | None = None

    def start(self, name: str, attributes: object) -> None:
        self._count += 1
        if len(self._open) >= DEPTH_MAX or self._count > ELEMENTS_MAX:
            raise MalformedXml("too deep, or too many elements")
        made = Node(name.rpartition("}")[2])
        if self._open:
            self._open[-1].children.append(made)
        else:
            self._root = made
        self._open.append(made)
        self._texts.append([])

    def data(self, text: str) -> None:
        self._texts[-1].append(text)

    def end(self, name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def close(self) -> Node | None:
        return self._root


def parse(body: bytes, root: str) -> Node:
    """Return the tree of a request body whose root element is `root`, with or without S3's namespace.

    The caller has capped the size. Raises MalformedXml.
    """
    parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(body)
        tree = parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise MalformedXml(str(error)) from error
    if not isinstance(tree, Node) or tree.name != root:
        raise MalformedXml(f"the root element is not {root}")
    return tree


# --- writing --------------------------------------------------------------------------------------------------

_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    | {chr(code): f"&#{code};" for code in (*range(0x20), 0x7F, 0xFFFE, 0xFFFF) if code not in (9, 10)}
)
_SPECIAL = re.compile('[&<>"\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]')  # most text has none: no need to rewrite it
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x80-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escape(text: str) -> str:
    """Return `text` as XML content.

    XML 1.0 has no way to hold most control characters; as AWS does, they become numeric references, which a strict
    parser refuses. A key is thus never shown as another one; clients that have such keys ask for url encoding.
    """
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text


def printable(text: str) -> str:
    """Return `text` with what XML cannot hold replaced: for messages, never for keys in a listing."""
    return _UNPRINTABLE.sub("\ufffd", text)


def render(root: Node, namespace: str = NAMESPACE) -> bytes:
    """Return a whole document, the root in S3's namespace unless another or none is named."""
    parts = [DECLARATION, f'<{root.name} xmlns="{namespace}">' if namespace else f"<{root.name}>"]
    _write(root, parts)
    parts.append(f"</{root.name}>")
    return "".join(parts).encode()


def _write(parent: Node, parts: list[str]) -> None:
    if parent.text:
        parts.append(escape(parent.text))
    for child in parent.children:
        if child.children:
            parts.append(f"<{child.name}{child.attributes}>")
            _write(child, parts)
            parts.append(f"</{child.name}>")
        else:
            parts.append(f"<{child.name}>{escape(child.text)}</{child.name}>")
