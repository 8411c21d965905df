"""What a remote backend makes of a failing line: over real HTTP, to a real server of others, each verb, each fault."""

import hashlib
import random
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from stratum.store.backends import BackendDown, BackendRefuses, Head, HeldWrong
from stratum.store.guarded import Guarded
from stratum.store.remote import RemoteBucket
from tests.engine.move_faults import run_moves
from tests.engine.remote import LIMITS, cold_tier
from tests.engine.s3_servers import ACCESS, SECRET, Servers
from tests.engine.served_cold import ServedCold
from tests.engine.troubled_line import FAULTS, TroubledLine

BODY = random.Random(1).randbytes(50_000)
# There is no body, or nobody relies on that ETag: cells have checksums of their own.
UNSEEN = {("short body", "PUT"), ("short body", "HEAD"), ("wrong ETag", "HEAD"), ("wrong ETag", "GET")}
QUICK = replace(LIMITS, cold_request_time=0.5, cold_attempts=3)


@pytest.fixture(scope="module")
def url():
    found = Servers()
    yield found.url("moto")
    found.close()


@asynccontextmanager
async def through(url, monkeypatch):
    """A line to the server, and the backend behind it."""
    monkeypatch.setenv("COLD_ACCESS", ACCESS)
    monkeypatch.setenv("COLD_SECRET", SECRET)
    line = TroubledLine(url)
    async with trio.open_nursery() as nursery:
        await nursery.start(line.run)
        backend = RemoteBucket(cold_tier(line.url, addressing="path"), bytes(16), QUICK)
        nursery.start_soon(backend.run)
        yield line, backend
        nursery.cancel_scope.cancel()


async def stream():
    await trio.lowlevel.checkpoint()
    yield BODY


def meet(line, fault, method, times):
    """The next requests of that method meet the fault. (One that is cut is sent once more by aiohttp itself.)"""
    left = [fault] * times
    line.fault = lambda asked, path: left.pop() if left and asked == method else None


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_an_error_of_our_tree_and_gone_at_the_next_attempt(url, monkeypatch, fault):
    async with through(url, monkeypatch) as (line, backend):
        held = backend.plan(len(BODY), hashlib.sha256(BODY).digest())
        one, three = (Guarded(backend, replace(QUICK, cold_attempts=times), chance=lambda: -0.499) for times in (1, 3))
        verbs = {
            "PUT": (lambda of: of.put(stream, held), held),
            "GET": (lambda of: of.get(held, 5, 40_000), BODY[5:40_000]),
            "HEAD": (lambda of: of.head(held), Head(len(BODY), held.sha256)),
        }
        for method, (ask, answer) in verbs.items():
            await (backend.delete(held) if method == "PUT" else backend.put(stream, held))
            if (fault, method) in UNSEEN:
                continue
            meet(line, fault, method, 2)
            with pytest.raises((BackendDown, HeldWrong)) as error:
                await ask(one)
            assert isinstance(error.value, BackendRefuses) == (fault == "403")
            if method == "PUT":
                await backend.delete(held)  # it may have been applied: else nothing would be sent again
            meet(line, fault, method, fault != "403")
            assert await ask(three) == answer
        await backend.delete(held)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see test_move_faults.py
@pytest.mark.slow
async def test_moves_to_a_real_server_over_a_failing_line_lose_nothing_and_leave_nothing(tmp_path, url, monkeypatch):
    async with through(url, monkeypatch) as (line, backend):
        cold = ServedCold(line, backend, url)
        found = await run_moves(tmp_path, 25, 3, cold=cold)
    assert found.moves >= 25 and len(found.faults) >= 5
    assert (found.wrong, found.lost, found.orphans) == (0, 0, 0)
