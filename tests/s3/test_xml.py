"""XML: nothing but elements and text is read, and what is written reads back."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.s3.xml import (
    DECLARATION,
    DEPTH_MAX,
    ELEMENTS_MAX,
    NAMESPACE,
    MalformedXml,
    Node,
    child_text,
    children,
    node,
    parse,
    render,
)

names = st.sampled_from(["Key", "Prefix", "Contents", "ETag"])
# What XML 1.0 can hold.
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r")
)
trees = st.recursive(
    st.builds(Node, names, texts),
    lambda below: st.builds(Node, names, st.just(""), st.lists(below, min_size=1)),
    max_leaves=12,
)


@given(st.lists(trees, max_size=3), st.sampled_from([NAMESPACE, "", "http://other/"]))
def test_what_is_written_reads_back(content, namespace):
    assert parse(render(node("Root", *content), namespace), "Root") == node("Root", *content)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_no_text_escapes_from_its_element(text):
    document = render(node("Root", node("Key", text)))
    try:
        root = parse(document, "Root")
    except MalformedXml:
        assert any(char < " " or char in "\ufffe\uffff" for char in text)  # which XML cannot hold: refused, not changed
    else:
        assert root == node("Root", node("Key", text))


@pytest.mark.parametrize("namespace", ["", f' xmlns="{NAMESPACE}"', ' xmlns="http://other/"', ' a="b"'])
def test_a_namespace_is_allowed_and_not_needed(namespace):
    root = parse(f"<Delete{namespace}><Object><Key>k</Key></Object><Object/></Delete>".encode(), "Delete")
    assert [child_text(each, "Key") for each in children(root, "Object")] == ["k", None]


def test_a_prefixed_namespace_is_stripped():
    assert child_text(parse(b'<s:D xmlns:s="x"><s:K>k</s:K></s:D>', "D"), "K") == "k"


HOSTILE = {
    "entity": b'<!DOCTYPE D [<!ENTITY x "y">]><D>&x;</D>',
    "external entity": b'<!DOCTYPE D [<!ENTITY x SYSTEM "file:///etc/passwd">]><D>&x;</D>',
    "external dtd": b'<!DOCTYPE D SYSTEM "http://localhost/x.dtd"><D/>',
    "empty dtd": b"<!DOCTYPE D><D/>",
    "parameter entity": b'<!DOCTYPE D [<!ENTITY % x SYSTEM "http://localhost/x"> %x;]><D/>',
    "laughs": b'<!DOCTYPE D [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><D>&b;</D>',
    "undeclared entity": b"<D>&nbsp;</D>",
    "another root": b"<E/>",
    "two roots": b"<D/><D/>",
    "not closed": b"<D><K></D>",
    "nothing": b"",
    "text": b"hello",
    "not utf-8": b"<D>\xff</D>",
    "nul": b"<D>\0</D>",
    "nul by number": b"<D>&#0;</D>",
    "unknown encoding": b'<?xml version="1.0" encoding="x-nope"?><D/>',
    "too deep": b"<D>" * (DEPTH_MAX + 1) + b"</D>" * (DEPTH_MAX + 1),
    "very deep": b"<D>" * 200_000,
    "too many": b"<D>" + b"<K/>" * ELEMENTS_MAX + b"</D>",
}


@pytest.mark.parametrize("document", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_documents_are_refused(document):
    with pytest.raises(MalformedXml):
        parse(document, "D")


def test_at_the_caps_a_document_is_read():
    deep = b"<D>" * DEPTH_MAX + b"</D>" * DEPTH_MAX
    assert parse(deep, "D")


@given(st.binary(max_size=80))
def test_no_bytes_break_the_parser(body):
    for document in (body, b"<D>" + body + b"</D>", b"\xff\xfe" + body):
        with suppress(MalformedXml):
            parse(document, "D")


def test_the_document_begins_as_clients_expect():
    assert render(node("A", node("B", "x"))) == f'{DECLARATION}<A xmlns="{NAMESPACE}"><B>x</B></A>'.encode()
    assert render(node("A", "x<"), namespace="") == f"{DECLARATION}<A>x&lt;</A>".encode()
