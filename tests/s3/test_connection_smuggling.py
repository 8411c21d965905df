"""Whatever has two readings is refused, and nothing that follows it on the connection becomes a request."""

import logging
import re

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.s3.connection_body import Chunked, Sized
from stratum.s3.connection_head import find_head, parse_head
from stratum.s3.errors import S3Error
from tests.s3.connections import ToyDoor, connected, statuses, talk

SMUGGLED = b"GET /b/smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def request(*headers: bytes, line: bytes = b"PUT /b/k HTTP/1.1", host: bytes = b"Host: x") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *headers, b"", b""])


def chunks(body: bytes) -> bytes:
    return request(b"Transfer-Encoding: chunked") + body


LENGTH, CODED = b"Content-Length: 4", b"Transfer-Encoding: chunked"
HEADS = {
    "a length and a transfer coding": request(LENGTH, CODED) + b"0\r\n\r\n",
    "a transfer coding and a length": request(CODED, LENGTH) + b"0\r\n\r\n",
    "two lengths": request(LENGTH, b"Content-Length: 5") + b"abcd",
    "the same length twice": request(LENGTH, LENGTH) + b"abcd",
    "a list of lengths": request(b"Content-Length: 4, 4") + b"abcd",
    "a signed length": request(b"Content-Length: +4") + b"abcd",
    "a negative length": request(b"Content-Length: -4") + b"abcd",
    "a hexadecimal length": request(b"Content-Length: 0x4") + b"abcd",
    "an empty length": request(b"Content-Length:") + b"abcd",
    "a length of many digits": request(b"Content-Length: " + b"9" * 30) + b"abcd",
    "a length with an underscore": request(b"Content-Length: 1_0") + b"abcd",
    "another coding": request(b"Transfer-Encoding: gzip") + b"0\r\n\r\n",
    "another coding before chunked": request(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "chunked before another coding": request(b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "chunked twice": request(CODED, CODED) + b"0\r\n\r\n",
    "chunked in quotes": request(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "nearly chunked": request(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "chunked after a vertical tab": request(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "chunked with a parameter": request(b"Transfer-Encoding: chunked;a=b") + b"0\r\n\r\n",
    "a transfer coding of HTTP/1.0": request(CODED, line=b"PUT /b/k HTTP/1.0") + b"0\r\n\r\n",
    "white space before the colon": request(b"Content-Length : 4") + b"abcd",
    "a tab before the colon": request(b"Content-Length\t: 4") + b"abcd",
    "a folded header": request(b"A: b\r\n c"),
    "a folded first header": request(b" A: b", host=b"").replace(b"\r\n\r\n", b"\r\nHost: x\r\n\r\n"),
    "a bare LF in the request line": b"GET /b/k HTTP/1.1\nHost: x\r\n\r\n",
    "a bare LF after a header": b"GET /b/k HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
    "a bare LF as the empty line": b"GET /b/k HTTP/1.1\r\nHost: x\r\n\n",
    "bare LFs alone": b"GET /b/k HTTP/1.1\nHost: x\n\n",
    "a bare CR in a value": request(b"A: b\rContent-Length: 4"),
    "a NUL in a value": request(b"A: b\0c"),
    "a control character in a value": request(b"A: b\x01c"),
    "a NUL in a name": request(b"A\0: b"),
    "a name with a space": request(b"A b: c"),
    "no name": request(b": c"),
    "no colon": request(b"Content-Length"),
    "no host": request(host=b""),
    "two hosts": request(b"Host: y"),
    "the same host twice": request(b"Host: x"),
    "an absolute target": request(line=b"GET http://y/b/k HTTP/1.1"),
    "a target with a fragment": request(line=b"GET /b/k#x HTTP/1.1"),
    "a target without a slash": request(line=b"GET b/k HTTP/1.1"),
    "a star for something else than OPTIONS": request(line=b"GET * HTTP/1.1"),
    "a target with a byte above ASCII": request(line=b"GET /b/\xff HTTP/1.1"),
    "two spaces in the request line": request(line=b"GET  /b/k HTTP/1.1"),
    "a space at the end of the request line": request(line=b"GET /b/k HTTP/1.1 "),
    "a space in the target": request(line=b"GET /b/k /x HTTP/1.1"),
    "a tab in the request line": request(line=b"GET\t/b/k HTTP/1.1"),
    "no version": request(line=b"GET /b/k"),
    "another protocol": request(line=b"GET /b/k RTSP/1.0"),
    "a version in lower case": request(line=b"GET /b/k http/1.1"),
    "a version of two digits": request(line=b"GET /b/k HTTP/1.10"),
    "a method in lower case": request(line=b"get /b/k HTTP/1.1"),
    "a handshake of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("sent", HEADS.values(), ids=HEADS)
async def test_a_head_with_two_readings_is_refused_and_ends_the_connection(sent, autojump_clock):
    door = ToyDoor()
    answer = await talk(door, sent + SMUGGLED)
    assert (statuses(answer), door.requests) == ([400], [])
    assert b"\r\nconnection: close\r\n" in answer
    assert re.search(rb"<Error><Code>\w+</Code>", answer)
    assert trio.current_time() < 1  # at once, not when patience ends


@pytest.mark.parametrize("name", ["bare LFs alone", "a handshake of TLS"])
async def test_what_cannot_become_a_head_any_more_is_not_waited_for(name, autojump_clock):
    assert statuses(await talk(ToyDoor(), HEADS[name])) == [400]
    assert trio.current_time() < 1


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/3.0", b"HTTP/9.9"])
async def test_other_versions_of_http_are_not_spoken(version, autojump_clock):
    door = ToyDoor()
    assert statuses(await talk(door, request(line=b"GET /b/k " + version) + SMUGGLED)) == [505]
    assert statuses(await talk(door, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) == [505]
    assert door.requests == []


@pytest.mark.parametrize("line", [b"CONNECT y:443 HTTP/1.1", b"BREW /b/k HTTP/1.1"])
async def test_other_methods_are_not_allowed(line, autojump_clock):
    door = ToyDoor()
    assert statuses(await talk(door, request(line=line) + SMUGGLED)) == [405]
    assert door.requests == []


CHUNKS = {
    "a bare LF after the size": b"4\nabcd\r\n0\r\n\r\n",
    "a bare LF after the content": b"4\r\nabcd\n0\r\n\r\n",
    "a bare LF at the end": b"4\r\nabcd\r\n0\r\n\n",
    "a bare LF in an extension": b"4;a\nb\r\nabcd\r\n0\r\n\r\n",
    "a bare CR in an extension": b"4;a\rb\r\nabcd\r\n0\r\n\r\n",
    "a control character in an extension": b"4;a=\x01\r\nabcd\r\n0\r\n\r\n",
    "a LF in a quoted extension": b'4;a="\n"\r\nabcd\r\n0\r\n\r\n',
    "content longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "no size": b"\r\nabcd\r\n0\r\n\r\n",
    "a signed size": b"+4\r\nabcd\r\n0\r\n\r\n",
    "a negative size": b"-4\r\nabcd\r\n0\r\n\r\n",
    "a size with a prefix": b"0x4\r\nabcd\r\n0\r\n\r\n",
    "a size with an underscore": b"0_4\r\nabcd\r\n0\r\n\r\n",
    "a space before the size": b" 4\r\nabcd\r\n0\r\n\r\n",
    "a space after the size": b"4 \r\nabcd\r\n0\r\n\r\n",
    "a size that overflows": b"f" * 17 + b"\r\nabcd\r\n0\r\n\r\n",
    "a size that comes round to 4": b"1" + b"0" * 15 + b"4\r\nabcd\r\n0\r\n\r\n",
    "a size of many zeros": b"0" * 100 + b"4\r\nabcd\r\n0\r\n\r\n",
    "a long extension": b"4;" + b"a" * 2000 + b"\r\nabcd\r\n0\r\n\r\n",
    "an extension that never ends": b"4;" + b"a" * 2000,
    "many trailers": b"4\r\nabcd\r\n0\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
    "a trailer without an end": b"4\r\nabcd\r\n0\r\nA: " + b"b" * 20_000,
    "a folded trailer": b"4\r\nabcd\r\n0\r\nA: b\r\n c\r\n\r\n",
    "a trailer with a bare LF": b"4\r\nabcd\r\n0\r\nA: b\nC: d\r\n\r\n",
    "a length among the trailers": b"4\r\nabcd\r\n0\r\nContent-Length: 4\r\n\r\n",
}


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
async def test_broken_chunks_are_refused_and_end_the_connection(body, autojump_clock):
    async def answer(asked):
        try:
            return await door.whole(asked)
        except StratumError as error:
            failures.append(error)
            raise

    door, failures = ToyDoor(answer), []
    answered = await talk(door, chunks(body) + SMUGGLED)
    assert (statuses(answered), door.paths) == ([400], [b"/b/k"])
    assert len(failures) == 1
    assert door.bodies == []
    assert trio.current_time() < 1


GOOD = [
    (request(line=b"GET /b/1 HTTP/1.1"), b"/b/1", b""),
    (b"\r\n" + request(line=b"GET /b/2?x=%2F HTTP/1.1"), b"/b/2", b""),
    (request(b"Content-Length:  4 \t") + b"\r\n\r\n", b"/b/k", b"\r\n\r\n"),
    (request(b"content-length:0"), b"/b/k", b""),
    (chunks(b"4\r\nabcd\r\n0\r\n\r\n"), b"/b/k", b"abcd"),
    (chunks(b'000a;x="y;z"\r\n\r\n0\r\n\r\nabc\r\n1;z\r\nd\r\n0;z\r\nA: b\r\n\r\n'), b"/b/k", b"\r\n0\r\n\r\nabcd"),
    (request(b"Transfer-Encoding:\tCHUNKED") + b"0\r\n\r\n", b"/b/k", b""),
    (request(b"Upgrade: h2c", b"Connection: Upgrade", b"Content-Length: 3") + b"GET", b"/b/k", b"GET"),
    (request(b"A: \xc3\xa9", b"B:", line=b"OPTIONS * HTTP/1.1"), b"*", b""),
    (request(line=b"GET //b/../%00 HTTP/1.1"), b"//b/../%00", b""),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(GOOD), min_size=1, max_size=6), st.lists(st.integers(1, 400), max_size=12))
async def test_requests_in_a_row_arrive_the_same_however_the_bytes_are_cut(wanted, cuts):
    door = ToyDoor()
    sent = b"".join(one for one, _, _ in wanted) + SMUGGLED
    pieces = []
    for cut in cuts:
        pieces.append(sent[:cut])
        sent = sent[cut:]
    answers = await talk(door, *filter(None, [*pieces, sent]))
    assert door.paths == [path for _, path, _ in wanted] + [b"/b/smuggled"]
    assert door.bodies == [body for _, _, body in wanted] + [b""]
    assert statuses(answers) == [200] * (len(wanted) + 1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_framing_of_a_body_never_takes_a_byte_of_the_next_request(data):
    """However a body is cut into pieces, what comes after it comes back untouched."""
    contents = data.draw(st.lists(st.binary(min_size=1, max_size=50), max_size=6))
    after = data.draw(st.binary(max_size=50))
    if data.draw(st.booleans()):
        sent, framing = (
            b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in contents) + b"0\r\n\r\n",
            Chunked(Limits()),
        )
    else:
        sent, framing = b"".join(contents), Sized(sum(map(len, contents)))
    sent, buffer, got = sent + after, b"", b""
    while not framing.ended:
        step = data.draw(st.integers(1, 40))
        buffer, sent = buffer + sent[:step], sent[step:]
        piece, buffer = framing.split(buffer)
        got += piece
    assert (got, buffer + sent) == (b"".join(contents), after)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_damaged_head_is_read_or_refused_and_nothing_else(data):
    """Fuzzing: bytes of a good head replaced, removed, put in."""
    head = bytearray(
        data.draw(st.sampled_from([request(LENGTH), request(CODED), HEADS["a folded header"], GOOD[8][0]]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(head) - 1))
        patch = data.draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"\t", b",", b"\xff", b"Host: y\r\n"])
        )
        head[at : at + data.draw(st.integers(0, 2))] = patch
    sent = bytes(head) + b"\r\n\r\n"
    try:
        end = find_head(sent.lstrip(b"\r\n"), 0, Limits())
        found = parse_head(sent.lstrip(b"\r\n")[:end], Limits()) if end else None
    except S3Error:
        return
    assert found is None or not (found.chunked and found.length)
    for name, value in found.headers if found else []:
        assert not re.search(rb"[\r\n\0]", name + value)


class Collected(logging.Handler):
    """What was logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@settings(max_examples=150, deadline=None)
@given(st.data())
async def test_damaged_bytes_on_a_connection_are_never_our_failure(data):
    sent = bytearray(b"".join(one for one, _, _ in data.draw(st.lists(st.sampled_from(GOOD), min_size=1, max_size=4))))
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, max(0, len(sent) - 1)))
        sent[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    errors = Collected()
    logging.getLogger("stratum").addHandler(errors)
    try:
        async with connected(ToyDoor()) as peer:
            await peer.send(bytes(sent))
            await trio.testing.wait_all_tasks_blocked()
            await peer.end()
            answers = await peer.read_all()
            await peer.ended.wait()
    finally:
        logging.getLogger("stratum").removeHandler(errors)
    assert 500 not in statuses(answers)
    assert errors.records == []
