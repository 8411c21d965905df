"""Errors: every class of the engine has an answer, and no answer says more than it should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core import errors as core
from stratum.s3.errors import ANSWERS, CODES, S3Error, answer_for, error_response, render_error
from stratum.s3.xml import child_text, parse


def tree(kind: type[core.StratumError]) -> list[type[core.StratumError]]:
    below = [found for child in kind.__subclasses__() for found in tree(child)]
    return [kind, *below]


def an(kind: type[core.StratumError], text: str = "") -> core.StratumError:
    """An error of that class, whatever else its own constructor wants to know."""
    return kind.__new__(kind, text)


EVERY = sorted(
    {kind for kind in tree(core.StratumError) if not issubclass(kind, S3Error)}, key=lambda kind: kind.__name__
)
# What an S3 request can name and not find.
MISSING = {core.NoSuchBucket, core.NoSuchKey, core.NoSuchVersion, core.NoSuchUpload}


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_of_the_engine_has_an_answer(kind):
    answer = answer_for(an(kind, "/secret/path on disk"))
    assert answer.code in CODES
    assert 400 <= answer.status < 600


@pytest.mark.parametrize("kind", EVERY)
def test_not_found_is_said_only_of_what_is_not_there(kind):
    missing = any(issubclass(kind, each) for each in MISSING)
    assert (answer_for(an(kind)).status == 404) is missing


# A full quota may pass, so the store tries again what it owes; but it is the client's to make room.
OURS = [kind for kind in EVERY if issubclass(kind, core.Unavailable | core.Corrupt) and kind is not core.QuotaExceeded]


@pytest.mark.parametrize("kind", OURS)
def test_what_could_not_be_done_now_is_the_servers_fault_and_tells_no_paths(kind):
    answer = answer_for(an(kind, "/srv/disk-3/volumes/17.shard"))
    assert answer.status >= 500
    assert "disk-3" not in answer.message + "".join(answer.fields.values())


def test_every_code_of_the_table_exists():
    assert set(ANSWERS.values()) <= CODES.keys()


def test_an_s3_error_is_its_own_answer():
    error = S3Error("InvalidRange", ActualObjectSize="5")
    assert answer_for(error) is error
    assert (error.status, error.fields) == (416, {"ActualObjectSize": "5"})


def test_the_xml_has_no_namespace_and_names_the_request():
    body = render_error(S3Error("NoSuchKey", Key="a&b"), resource="/b/<k>", request_id="R", host_id="H")
    assert b"xmlns" not in body
    root = parse(body, "Error")
    names = ["Code", "Message", "Key", "Resource", "RequestId", "HostId"]
    assert [child.name for child in root.children] == names
    assert [child_text(root, name) for name in names[2:]] == ["a&b", "/b/<k>", "R", "H"]


@given(st.text(), st.text())
def test_whatever_is_reflected_the_answer_can_be_parsed(message, resource):
    error = S3Error("InvalidArgument", message, ArgumentValue=resource)
    parse(render_error(error, resource=resource, request_id="R", host_id="H"), "Error")


def test_head_and_not_modified_have_no_body():
    parts = {"resource": "/b/k", "request_id": "R", "host_id": "H"}
    assert error_response(core.NoSuchKey("k"), **parts, head=True).body == b""
    assert error_response(S3Error("NotModified", headers=[(b"etag", b'"e"')]), **parts).body == b""
    headers = [(b"x-amz-delete-marker", b"false"), (b"content-type", b"application/xml")]
    assert error_response(core.NoSuchKey("k"), **parts).headers == headers
