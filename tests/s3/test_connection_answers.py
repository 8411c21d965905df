"""Answers over our connection: framed by the book, ended truthfully; 100 Continue only for who may send a body."""

import logging

import pytest
import trio
import trio.testing

from stratum.core.config import Limits
from stratum.core.errors import TooFewShards
from stratum.s3.errors import S3Error, error_response
from stratum.s3.http import Request, Response
from tests.s3.connections import ToyDoor, answering, connected, statuses, talk

LIMITS = Limits(linger=5)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def ask(line: str = "GET /b/k HTTP/1.1", *headers: str, close: bool = True) -> bytes:
    lines = [line, "Host: x", *headers, *(["Connection: close"] if close else []), "", ""]
    return "\r\n".join(lines).encode()


def split(answer: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    return line, dict(one.split(b": ", 1) for one in lines), body


async def stream(*pieces: bytes):
    for piece in pieces:
        yield piece


async def test_an_answer_in_bytes_has_its_length():
    line, headers, body = split(await talk(answering(200, [(b"X-A", b"b")], b"body"), ask()))
    assert (line, body) == (b"HTTP/1.1 200 OK", b"body")
    assert (headers[b"content-length"], headers[b"x-a"], headers[b"connection"]) == (b"4", b"b", b"close")
    assert b"GMT" in headers[b"date"]
    assert b"transfer-encoding" not in headers
    assert b"server" not in headers


async def test_an_answer_of_unknown_length_comes_in_chunks():
    _, headers, body = split(await talk(answering(200, [], stream(b"ab", b"", b"c" * 20)), ask()))
    assert headers[b"transfer-encoding"] == b"chunked"
    assert body == b"2\r\nab\r\n14\r\n" + b"c" * 20 + b"\r\n0\r\n\r\n"


async def test_to_http_1_0_an_answer_of_unknown_length_ends_with_the_connection():
    line, headers, body = split(
        await talk(
            answering(200, [], stream(b"ab", b"c")), ask("GET /b/k HTTP/1.0", "Connection: keep-alive", close=False)
        )
    )
    assert (line, body, headers[b"connection"]) == (b"HTTP/1.1 200 OK", b"abc", b"close")
    assert b"transfer-encoding" not in headers


async def test_http_1_0_may_keep_its_connection_and_need_not_have_a_host():
    keep = b"GET /b/k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answers = await talk(answering(body=b"x"), keep, b"GET /b/k HTTP/1.0\r\n\r\n", keep)
    assert statuses(answers) == [200, 200]
    assert answers.count(b"connection: keep-alive") == 1


@pytest.mark.parametrize(("line", "status"), [("HEAD /b/k HTTP/1.1", 200), ("GET /b/k HTTP/1.1", 304)])
async def test_an_answer_without_a_body_keeps_the_length_it_speaks_of(line, status):
    _, headers, body = split(await talk(answering(status, [(b"content-length", b"8")], b"12345678"), ask(line)))
    assert (headers[b"content-length"], body) == (b"8", b"")


async def test_no_content_has_neither_body_nor_length():
    _, headers, body = split(await talk(answering(204, [(b"content-length", b"0")], b""), ask("DELETE /b/k HTTP/1.1")))
    assert body == b""
    assert not {b"content-length", b"transfer-encoding"} & set(headers)


async def test_several_answers_after_one_another_without_bodies_stay_apart():
    door = answering(200, [(b"content-length", b"8")], b"12345678")
    answers = await talk(door, ask("HEAD /b/k HTTP/1.1", close=False) * 3 + ask())
    assert statuses(answers) == [200] * 4
    assert answers.count(b"12345678") == 1


async def test_requests_in_a_row_are_answered_one_at_a_time_and_in_order():
    under_way = most = 0

    async def slow(request: Request) -> Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await trio.testing.wait_all_tasks_blocked()
        under_way -= 1
        return Response(200, [], request.raw_path)

    sent = b"".join(ask(f"GET /b/{i} HTTP/1.1", close=i == 9) for i in range(10))
    answers = await talk(ToyDoor(slow), sent)
    assert most == 1
    assert [part.split(b"\r\n\r\n")[1] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"/b/%d" % i for i in range(10)]


async def test_after_its_last_request_a_connection_is_closed():
    answers = await talk(answering(body=b"x"), ask(close=False) * 5, limits=Limits(connection_requests=3))
    assert statuses(answers) == [200] * 3
    assert answers.count(b"connection: close") == 1


async def test_at_the_end_of_the_server_a_connection_is_closed_after_its_answer():
    ending = trio.Event()

    async def last(request: Request) -> Response:
        ending.set()
        return Response(200, [], b"x")

    async with connected(ToyDoor(last), ending=ending) as peer:
        await peer.send(ask(close=False))
        answer = await peer.read_all()
    assert (statuses(answer), answer.count(b"connection: close")) == ([200], 1)


@pytest.mark.parametrize("headers", [[(b"content-length", b"9")], []])
async def test_an_answer_that_fails_is_cut_and_has_no_end(headers, caplog):
    async def failing():
        yield b"good"
        raise TooFewShards("gone")

    with caplog.at_level(logging.CRITICAL):
        answer = await talk(answering(200, headers, failing()), ask(close=False) * 2)
    assert statuses(answer) == [200]
    assert answer.endswith(b"good" if headers else b"good\r\n")


@pytest.mark.parametrize("body", [b"short", b"much too long"])
async def test_a_body_of_another_length_than_said_is_never_sent_as_if_whole(body, caplog):
    with caplog.at_level(logging.CRITICAL):
        answer = await talk(answering(200, [(b"content-length", b"8")], stream(body)), ask(close=False) * 2)
    assert answer.count(b"HTTP/1.1") <= 1
    assert len(answer.partition(b"\r\n\r\n")[2]) < 8


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\ny", b"a\ry", b"a\0b"])
async def test_no_line_end_reaches_a_header(value, caplog):
    with caplog.at_level(logging.CRITICAL):
        answer = await talk(answering(200, [(b"x-a", value)], b""), ask())
    assert value not in answer
    assert statuses(answer) in ([], [500])


async def test_an_application_that_fails_is_an_internal_error(caplog):
    async def app(scope, receive, send) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.CRITICAL):
        async with connected(None, app=app) as peer:
            await peer.send(ask())
            answer = await peer.read_all()
    assert statuses(answer) == [500]
    assert b"<Code>InternalError</Code>" in answer


@pytest.mark.parametrize("fails", [True, False])
async def test_an_application_that_leaves_its_answer_unfinished_loses_the_connection(fails, caplog):
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if fails:
            raise ZeroDivisionError

    with caplog.at_level(logging.CRITICAL):
        async with connected(None, app=app) as peer:
            await peer.send(ask(close=False) * 2)
            answer = await peer.read_all()
    assert answer.endswith(b"4\r\nhalf\r\n")
    assert statuses(answer) == [200]


# --- Expect: 100-continue ---------------------------------------------------------------------------------------


def expecting(size: int = 4) -> bytes:
    return ask("PUT /b/k HTTP/1.1", f"Content-Length: {size}", "Expect: 100-Continue", close=False)


async def test_a_client_is_asked_for_its_body_when_the_handler_wants_it():
    decided = trio.Event()

    async def careful(request: Request) -> Response:
        await decided.wait()
        return await door.whole(request)

    door = ToyDoor(careful)
    async with connected(door) as peer:
        await peer.send(expecting())
        await trio.testing.wait_all_tasks_blocked()
        assert (len(door.requests), peer.received) == (1, b"")
        decided.set()
        assert await peer.read_until(b"\r\n\r\n") == CONTINUE
        await peer.send(b"abcd")
        assert statuses(await peer.read_until(b"/b/k")) == [200]
        await peer.send(expecting())
        assert await peer.read_until(b"\r\n\r\n") == CONTINUE
    assert door.bodies[0] == b"abcd"


@pytest.mark.parametrize("size", [4, 1 << 30])
@pytest.mark.parametrize("code", ["AccessDenied", "PreconditionFailed", "SlowDown"])
async def test_an_early_error_comes_instead_and_saves_the_upload(code, size, autojump_clock):
    async def refuses(request: Request) -> Response:
        return error_response(S3Error(code), resource="", request_id="", host_id="")

    door = ToyDoor(refuses)
    async with connected(door, LIMITS) as peer:
        await peer.send(expecting(size))
        answer = await peer.read_until(b"</Error>")
        assert statuses(answer) == [S3Error(code).status]
        assert b"connection: close" in answer
        await peer.leave()
        await peer.ended.wait()
    assert trio.current_time() < 1


async def test_what_follows_an_early_error_is_not_a_request(autojump_clock):
    """A client may send its body all the same, or the next request: nobody can tell them apart."""
    door = answering(403, body=b"no")
    answer = await talk(door, expecting(100) + ask("GET /b/smuggled HTTP/1.1"), limits=LIMITS)
    assert statuses(answer) == [403]
    assert door.paths == [b"/b/k"]


async def test_a_body_that_came_without_waiting_needs_no_asking():
    door = ToyDoor()
    answer = await talk(door, expecting() + b"abcd" + ask())
    assert statuses(answer) == [200, 200]
    assert door.bodies == [b"abcd", b""]


async def test_an_empty_body_is_asked_for_too():
    """botocore would take the status of a final answer in place of 100 for that of the next one."""
    async with connected(ToyDoor()) as peer:
        await peer.send(expecting(0))
        assert statuses(await peer.read_until(b"/b/k")) == [100, 200]
        await peer.send(ask())
        assert statuses(await peer.read_all()) == [200]


async def test_http_1_0_is_never_asked():
    sent = b"PUT /b/k HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    async with connected(ToyDoor()) as peer:
        await peer.send(sent)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(b"abcd")
        assert statuses(await peer.read_all()) == [200]


async def test_an_early_answer_to_a_small_upload_keeps_the_connection():
    door = answering(403, body=b"no")
    sent = ask("PUT /b/k HTTP/1.1", "Content-Length: 1000", close=False) + bytes(1000) + ask()
    answer = await talk(door, sent)
    assert statuses(answer) == [403, 403]
    assert answer.count(b"connection: close") == 1


async def test_an_early_answer_to_a_chunked_upload_closes_the_connection(autojump_clock):
    door = answering(403, body=b"no")
    sent = ask("PUT /b/k HTTP/1.1", "Transfer-Encoding: chunked", close=False) + b"4\r\nabcd\r\n0\r\n\r\n" + ask()
    answer = await talk(door, sent, limits=LIMITS)
    assert (statuses(answer), answer.count(b"connection: close")) == ([403], 1)
