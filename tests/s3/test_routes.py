"""Routing: keys keep every byte, every operation has one name, nothing unknown is ever the plain operation."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.s3.errors import S3Error
from stratum.s3.routes import COPYING, NAMING, TABLE, Op, parse_copy_source, parse_query, route, split_path
from stratum.s3.sub_resources import DELETABLE, SUBRESOURCES, UNSET, Level
from stratum.s3.xml import parse

METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE"]
PATHS = {Level.SERVICE: b"/", Level.BUCKET: b"/bucket", Level.OBJECT: b"/bucket/key"}
PLAIN = {op for (_, _, name), (op, _) in TABLE.items() if not name}


def asked(method: str, target: bytes, *, copying: bool = False):
    path, _, query = target.partition(b"?")
    return route(method, path, parse_query(query), copying=copying)


def refused(method: str, target: bytes, **options) -> S3Error:
    with pytest.raises(S3Error) as caught:
        asked(method, target, **options)
    return caught.value


@pytest.mark.parametrize(
    ("target", "bucket", "key"),
    [
        (b"/", "", b""),
        (b"/b", "b", b""),
        (b"/b/", "b", b""),
        (b"/b//k", "b", b"/k"),
        (b"/b//", "b", b"/"),
        (b"/b/a//b//", "b", b"a//b//"),
        (b"/b/a%2Fb", "b", b"a/b"),
        (b"/b/a%252Fb", "b", b"a%2Fb"),
        (b"/b/../x", "b", b"../x"),
        (b"/b/./", "b", b"./"),
        (b"/b/%2e%2e/x", "b", b"../x"),
        (b"/b/%00", "b", b"\0"),
        (b"/b/a+b", "b", b"a+b"),
        (b"/b/%5c..%5c", "b", b"\\..\\"),
        (b"/b/k;v=1", "b", b"k;v=1"),
        ("/b/käse".encode(), "b", "käse".encode()),
    ],
)
def test_a_key_is_the_bytes_of_its_path(target, bucket, key):
    assert split_path(target) == (bucket, key)


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.sampled_from(["", "/", "/~", "/-_.~*()!'$&,;=:@+"]))
def test_any_key_comes_back_however_much_of_it_was_encoded(key, bare):
    path = "/bucket/" + quote(key, safe=bare)
    assert split_path(path.encode()) == ("bucket", key.encode())
    assert parse_copy_source(path) == ("bucket", key.encode(), None)
    assert parse_copy_source(path[1:] + "?versionId=null") == ("bucket", key.encode(), "null")


BAD_ESCAPES = [b"/b/%", b"/b/%4", b"/b/%zz", b"/%ff/k", b"/b?a=%", b"/b?%ff"]
NO_TEXT = [b"/b/%ff", b"/b/%c0%af", b"/b/%ed%a0%80"]


@pytest.mark.parametrize("target", [b"", b"b/k", b"http://x/b/k", b"*", *BAD_ESCAPES])
def test_what_cannot_be_decoded_is_an_invalid_uri(target):
    assert refused("GET", target).code == "InvalidURI"


@pytest.mark.parametrize("target", NO_TEXT)
def test_a_key_that_is_no_text_can_be_asked_for_since_files_may_have_such_names_but_not_made(target):
    for method in ("PUT", "POST"):
        assert refused(method, target).code == "InvalidURI"
    for method in ("GET", "HEAD", "DELETE"):
        assert split_path(target)[1] == route(method, target, {}).key
    with pytest.raises(S3Error):
        parse_copy_source(target.decode())


@pytest.mark.parametrize("place", TABLE, ids=str)
def test_every_place_of_the_table_is_reached(place):
    level, method, name = place
    query = {"": b"", "list-type": b"?list-type=2", "uploadId": b"?uploadId=x&partNumber=1"}.get(
        name, b"?" + name.encode()
    )
    query = b"?uploadId=x" if name == "uploadId" and method != "PUT" else query
    assert asked(method, PATHS[level] + query).op is TABLE[place][0]
    assert asked(method, PATHS[level] + query + (b"&" if query else b"?") + b"x-id=Any").op is TABLE[place][0]


def test_every_operation_has_a_place():
    placed = {op for op, _ in TABLE.values()} | set(COPYING.values()) | {Op.GET_UNSET, Op.DELETE_UNSET}
    assert placed == set(Op)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("name", sorted(SUBRESOURCES | {"foo", "Policy", "uploads ", "listtype"}))
def test_a_sub_resource_is_never_the_plain_operation(method, level, name):
    target = PATHS[level] + b"?" + quote(name).encode()
    for query in (b"", b"=", b"=x", b"&x-id=PutObject"):
        try:
            op = asked(method, target + query).op
        except S3Error as error:
            assert error.status in (400, 404, 405, 501)
        else:
            reads = method in ("GET", "HEAD") and level is Level.OBJECT and name in ("foo", "listtype")
            assert op not in PLAIN or (reads and query == b"=x")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), st.sampled_from(METHODS), st.sampled_from(Level))
def test_an_unknown_parameter_is_never_ignored(name, method, level):
    known = {word for _, further in TABLE.values() for word in further.split()}
    if name in known | NAMING or name.lower().startswith("x-"):
        return
    assert refused(method, PATHS[level] + b"?" + quote(name, safe="").encode()).code in (
        "NotImplemented",
        "MethodNotAllowed",
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_pages_and_caches_put_behind_an_address_does_not_hide_the_object(method):
    op = Op.GET_OBJECT if method == "GET" else Op.HEAD_OBJECT
    assert asked(method, b"/b/k?v=3&utm_source=a%20b").op is op
    for query in (b"v", b"v=", b"ACL=x", b"prefix=x", b"List-Type=2", b"torrent=x"):
        assert refused(method, b"/b/k?" + query).code in ("NotImplemented", "MethodNotAllowed")
    assert refused(method, b"/b?v=3").code == "NotImplemented"
    assert refused("PUT", b"/b/k?v=3").code == "NotImplemented"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", [b"/b", b"/b/k"])
def test_parameters_for_the_access_log_mean_nothing(method, path):
    assert asked(method, path + b"?x-user=me&X-Job=7").op is asked(method, path).op


def test_a_copy_source_may_be_encoded_as_a_whole():
    for value in ("b/k%2Fl", "/b/k/l", "b%2Fk%2Fl", "%2Fb%2Fk%2Fl"):
        assert parse_copy_source(value) == ("b", b"k/l", None)
    assert parse_copy_source("b%2Fk%3Fx?versionId=null") == ("b", b"k?x", "null")


def test_two_names_of_operations_at_once_are_refused():
    assert refused("GET", b"/b?acl&policy").code == "NotImplemented"
    assert refused("PUT", b"/b/k?uploadId=x&partNumber=1&tagging").code == "NotImplemented"


def test_a_parameter_given_twice_is_refused():
    assert refused("GET", b"/b?prefix=a&prefix=b").code == "InvalidArgument"


def test_plus_and_percent_both_make_a_space_and_two_percents_a_percent():
    assert parse_query(b"prefix=a+b%20c%2Bd%2525&x&=y") == {"prefix": "a b c+d%25", "x": "", "": "y"}


@pytest.mark.parametrize("place", TABLE, ids=str)
def test_a_copy_source_counts_for_puts_of_bytes_and_is_refused_elsewhere(place):
    level, method, name = place
    query = {"": b"", "list-type": b"?list-type=2"}.get(name, b"?" + name.encode() + b"=x")
    query += b"&partNumber=1" if (method, name) == ("PUT", "uploadId") else b""
    op = TABLE[place][0]
    if op in COPYING:
        assert asked(method, PATHS[level] + query, copying=True).op is COPYING[op]
    else:
        assert refused(method, PATHS[level] + query, copying=True).code == "NotImplemented"


@pytest.mark.parametrize(
    "value", ["", "/", "/b", "/b/", "b", "/b/%zz", "/b/%ff", "//k", "/b/k?foo=1", "/b/k?versionId="]
)
def test_a_copy_source_that_names_no_object_is_refused(value):
    with pytest.raises(S3Error) as caught:
        parse_copy_source(value)
    assert caught.value.status in (400, 404, 501)


def test_a_version_may_be_asked_for_by_its_id():
    assert asked("GET", b"/b/k?versionId=null").query["versionId"] == "null"
    assert parse_copy_source("/b/k?versionId=3HL4kqtJ") == ("b", b"k", "3HL4kqtJ")


@pytest.mark.parametrize("place", UNSET, ids=str)
def test_a_configuration_nobody_stored_has_its_own_answer(place):
    level, name = place
    found = asked("GET", PATHS[level] + b"?" + name.encode())
    assert found.op is Op.GET_UNSET
    if found.unset.document:
        parse(found.unset.document, found.unset.document.decode().split("<")[2].split(" ")[0])
    else:
        assert S3Error(found.unset.code).status == 404
    assert refused("PUT", PATHS[level] + b"?" + name.encode()).code == "NotImplemented"
    if name in DELETABLE:
        assert asked("DELETE", PATHS[level] + b"?" + name.encode()).op is Op.DELETE_UNSET
    else:
        assert refused("DELETE", PATHS[level] + b"?" + name.encode()).code == "NotImplemented"


def test_a_named_configuration_that_is_not_there_is_not_an_empty_list():
    assert asked("GET", b"/b?analytics&id=x").unset.code == "NoSuchConfiguration"
    assert asked("GET", b"/b?analytics").unset.document


def test_preflights_and_strange_methods():
    assert refused("OPTIONS", b"/b/k").code == "AccessForbidden"
    for method in ("PATCH", "TRACE", "CONNECT", "get", ""):
        assert refused(method, b"/b/k").code == "MethodNotAllowed"
    assert refused("PUT", b"/").code == "MethodNotAllowed"
    assert refused("POST", b"/b?uploadId=x").code == "NotImplemented"
    assert refused("GET", b"/b?list-type=3").code == "InvalidArgument"
    assert refused("PUT", b"/b/k?uploadId=x").code == "InvalidArgument"
    assert refused("GET", b"//k").code == "InvalidBucketName"
