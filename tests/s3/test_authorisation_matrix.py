"""Every request of the route table, signed in every way and wrong in every way: nothing is wrongly accepted."""

from dataclasses import replace
from unittest import mock

import pytest
from botocore.credentials import Credentials

from stratum.s3.actions import NEEDS
from stratum.s3.routes import Op
from tests.s3.authorising import (
    ALICE,
    CODES,
    MODES,
    OPERATOR,
    WAYS,
    by_header,
    by_query,
    form,
    sent,
    signed_by,
    unsigned,
    world_at,
)

AN_HOUR = 3600
OPEN_TO_USERS = (Op.LIST_BUCKETS, Op.CREATE_BUCKET)  # whoever has a key may have buckets of its own
UNSET = (Op.GET_UNSET, Op.DELETE_UNSET)


@pytest.fixture
async def world(tmp_path):
    async with world_at(tmp_path) as made:
        yield made


def test_every_operation_is_in_the_matrix_and_needs_something():
    assert {way.op for way in WAYS} == set(Op)
    assert {op.name for op in Op} - {op.name for op in UNSET} <= NEEDS.keys()


def earlier(sign, made, who):
    """Signed an hour ago."""
    import datetime
    import time

    moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=AN_HOUR)
    with (
        mock.patch("botocore.auth.get_current_datetime", lambda *a, **k: moment.replace(tzinfo=None)),
        mock.patch("botocore.auth.formatdate", lambda *a, **k: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        mock.patch("botocore.auth.time.time", lambda now=time.time: now() - AN_HOUR),
    ):
        return sign(made, who)


def flipped_path(request):
    return replace(request, raw_path=request.raw_path + b"%00" if len(request.raw_path) > 1 else b"/%00")


def flipped_signature(request):
    """One character of the signature is another one."""

    def other(raw: bytes, mark: bytes) -> bytes:
        head, found, tail = raw.partition(mark)
        return head + found + (b"1" if tail[:1] != b"1" else b"2") + tail[1:] if found else raw

    headers = [
        (name, other(other(value, b"Signature="), b"KEY0000001:") if name == b"authorization" else value)
        for name, value in request.headers
    ]
    return replace(request, headers=headers, raw_query=other(request.raw_query, b"Signature="))


def with_header(name: bytes, value: bytes):
    return lambda request: replace(request, headers=[*request.headers, (name, value)])


def other_host(request):
    headers = [(name, b"127.0.0.1" if name == b"host" else value) for name, value in request.headers]
    return replace(request, headers=headers)


def more_query(request):
    return replace(request, raw_query=request.raw_query + (b"&" if request.raw_query else b"") + b"prefix=x")


FAULTS = {
    "a wrong secret": lambda sign, made: sign(made, Credentials(OPERATOR.access_key, "wrong")),
    "an unknown key": lambda sign, made: sign(made, Credentials("NOBODY", OPERATOR.secret_key)),
    "an empty key": lambda sign, made: sign(made, Credentials("", OPERATOR.secret_key)),
    "too late": lambda sign, made: earlier(sign, made, OPERATOR),
    "a flipped path": lambda sign, made: flipped_path(sign(made, OPERATOR)),
    "a flipped signature": lambda sign, made: flipped_signature(sign(made, OPERATOR)),
    "an unsigned x-amz header": lambda sign, made: with_header(b"x-amz-acl", b"public-read")(sign(made, OPERATOR)),
}
OF_VERSION_4 = {
    "a flipped host": lambda sign, made: other_host(sign(made, OPERATOR)),
    "one more parameter": lambda sign, made: more_query(sign(made, OPERATOR)),
    "an unsigned digest": lambda sign, made: with_header(b"content-md5", b"AAAA")(sign(made, OPERATOR)),
}
CASES = [
    (mode, fault, make)
    for mode in MODES
    for fault, make in {**FAULTS, **({} if mode.startswith("old") else OF_VERSION_4)}.items()
]


@pytest.mark.parametrize(("mode", "fault", "make"), CASES, ids=[f"{mode}: {fault}" for mode, fault, _ in CASES])
async def test_what_is_wrongly_signed_is_refused_whatever_it_asks_and_changes_nothing(world, mode, fault, make):
    place = await world.place()
    before, accepted = world.everything(), []
    for way in WAYS:
        status, code = await world.ask(make(MODES[mode], unsigned(way, place)))
        known = code in CODES or (way.method == "HEAD" and status in (400, 403)) or code.startswith("Authorization")
        if not (status in (400, 403) and known):
            accepted.append((str(way), status, code))
    assert accepted == []
    assert world.everything() == before


async def test_one_signature_is_enough_and_two_are_too_many(world):
    place, accepted = await world.place(), []
    before = world.everything()
    for way in WAYS:
        both = by_query(unsigned(way, place), OPERATOR)
        grant = dict(by_header(unsigned(way, place), OPERATOR).headers)[b"authorization"]
        status, code = await world.ask(with_header(b"authorization", grant)(both))
        if status != 400 or code not in ("", "InvalidArgument"):
            accepted.append((str(way), status, code))
    assert accepted == []
    assert world.everything() == before


@pytest.mark.parametrize("leftover", ["", "X-Amz-Credential=x", "x-amz-signature=x", "Signature=x", "AWSAccessKeyId=x"])
async def test_who_signs_nothing_may_do_nothing(world, leftover):
    place, accepted = await world.place(), []
    before = world.everything()
    for way in WAYS:
        request = sent(unsigned(way, place))
        query = b"&".join(part for part in (request.raw_query, leftover.encode()) if part)
        status, code = await world.ask(replace(request, raw_query=query))
        fine = status in (400, 403) or (way.op is Op.DELETE_OBJECTS and code == "AccessDenied" and status == 200)
        if not fine:
            accepted.append((str(way), status, code))
    if not leftover:
        assert await world.ask(form()) == (403, "AccessDenied")
    assert accepted == []
    assert world.everything() == before


@pytest.mark.parametrize("mode", MODES)
async def test_another_user_may_do_nothing_with_what_is_not_his(world, mode):
    place, accepted = await world.place(), []
    before = world.everything()
    for way in WAYS:
        status, code = await world.ask(MODES[mode](unsigned(way, place), ALICE))
        expected = (200 if way.op is Op.DELETE_OBJECTS else 403, "" if way.method == "HEAD" else "AccessDenied")
        if way.op is Op.POST_OBJECT or (way.op is Op.DELETE_OBJECTS and mode == "old query"):
            assert status >= 400  # neither is a request that a client would make
        elif not signed_by(mode, way):
            assert status == 403
        elif (status, code) != expected and way.op not in OPEN_TO_USERS:
            accepted.append((str(way), status, code))
    assert accepted == []
    assert world.everything() == before


@pytest.mark.parametrize("mode", MODES)
async def test_who_signs_rightly_and_may_do_it_is_never_refused(world, mode):
    refused = []
    for number, way in enumerate(WAYS):
        place = await world.place(f"bucket-{number}")
        status, code = await world.ask(MODES[mode](unsigned(way, place), OPERATOR))
        if status == 403 and code != "InvalidObjectState" and signed_by(mode, way):
            refused.append((str(way), status, code))
    assert refused == []


@pytest.mark.parametrize("mode", MODES)
async def test_the_owner_of_a_bucket_is_never_refused(world, mode):
    refused = []
    for number, way in enumerate(WAYS):
        place = await world.place(f"bucket-{number}", "alice")
        status, code = await world.ask(MODES[mode](unsigned(way, place), ALICE))
        if status == 403 and code != "InvalidObjectState" and signed_by(mode, way):
            refused.append((str(way), status, code))
    assert refused == []


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_an_operation_that_nobody_thought_of_is_refused_even_to_the_owner(world, way, monkeypatch):
    if way.op not in UNSET:
        place = await world.place("bucket", "alice")
        monkeypatch.delitem(NEEDS, way.op.name)
        status, _ = await world.ask(by_header(unsigned(way, place), ALICE))
        assert status == 403 or way.op is Op.POST_OBJECT
