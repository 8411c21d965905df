"""Tenants over S3: nothing of another is seen or changed; across accounts both sides must allow."""

import json

import pytest
from botocore.credentials import Credentials

from stratum.core.objects import PutSpec
from stratum.core.policy import KIND, PolicyText
from stratum.engine.credentials import KeyPair
from stratum.s3.routes import Op
from tests.engine.conftest import body_of
from tests.s3.authorising import OPERATOR, WAYS, Way, by_header, unsigned, world_at

ACME, ACME_USER = Credentials("ACMEROOTKEY", "acme-root-secret"), Credentials("ACMEUSERKEY", "acme-user-secret")
ZOO, ZOO_USER = Credentials("ZOOROOTKEY", "zoo-root-secret"), Credentials("ZOOUSERKEY", "zoo-user-secret")
EVERYTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
)
OPEN_TO_USERS = (Op.LIST_BUCKETS, Op.CREATE_BUCKET)
GET, PUT = Way(Op.GET_OBJECT, "GET", "/{bucket}/{key}"), Way(Op.PUT_OBJECT, "PUT", "/{bucket}/{key}", body=b"new")


@pytest.fixture
async def world(tmp_path):
    """Two tenants, each with a user whose policy allows everything."""
    async with world_at(tmp_path) as made:
        engine = made.engine
        for name, root, user in (("acme", ACME, ACME_USER), ("zoo", ZOO, ZOO_USER)):
            await engine.tenants.add(name, tenant=name)
            await engine.users.create(f"{name}-user", user=f"{name}-user", account=name)
            await engine.users.put_policy(f"{name}-user", "all", EVERYTHING)
            for key, owner in ((root, name), (user, f"{name}-user")):
                await engine.credentials.create("", user=owner, pair=KeyPair(key.access_key, key.secret_key))
        yield made


async def policy(world, bucket, *principals, effect="Allow"):
    statement = {"Effect": effect, "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}
    text = json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Principal": {"AWS": list(principals)}}]})
    await world.engine.configurations.put(bucket, KIND, PolicyText(text=text))


async def status(world, way, place, who):
    return (await world.ask(by_header(unsigned(way, place), who)))[0]


@pytest.mark.parametrize("who", [ZOO, ZOO_USER], ids=["root", "user"])
async def test_whatever_a_tenants_own_policies_say_it_may_do_nothing_with_what_is_anothers(world, who):
    place, accepted = await world.place("bucket", "acme"), []
    before = world.everything()
    for way in WAYS:
        got, code = await world.ask(by_header(unsigned(way, place), who))
        expected = (200 if way.op is Op.DELETE_OBJECTS else 403, "" if way.method == "HEAD" else "AccessDenied")
        if way.op is Op.POST_OBJECT:
            assert got >= 400
        elif (got, code) != expected and way.op not in OPEN_TO_USERS:
            accepted.append((str(way), got, code))
    assert accepted == []
    assert world.everything() == before


@pytest.mark.parametrize("who", [ACME, ACME_USER, OPERATOR], ids=["root", "user", "operator"])
async def test_inside_its_account_a_tenants_policies_are_enough(world, who):
    refused = []
    for number, way in enumerate(WAYS):
        place = await world.place(f"bucket-{number}", "acme")
        got, code = await world.ask(by_header(unsigned(way, place), who))
        if got == 403 and code != "InvalidObjectState":
            refused.append((str(way), got, code))
    assert refused == []


async def test_across_accounts_both_sides_must_allow(world):
    place = await world.place("bucket", "acme")
    await policy(world, "bucket", "arn:aws:iam::zoo:root")
    assert await status(world, GET, place, ZOO) == 200  # the root needs nobody's leave on its own side
    assert await status(world, GET, place, ZOO_USER) == 200
    assert await status(world, PUT, place, ZOO_USER) == 200
    await world.engine.users.delete_policy("zoo-user", "all")
    assert await status(world, GET, place, ZOO_USER) == 403  # its own side does not allow it any more
    assert await status(world, GET, place, ZOO) == 200
    await world.engine.users.put_policy("zoo-user", "all", EVERYTHING)
    await policy(world, "bucket", "arn:aws:iam::zoo:user/zoo-user", effect="Deny")
    assert await status(world, GET, place, ZOO_USER) == 403


async def test_the_users_of_who_is_no_tenant_are_let_in_by_the_policies_that_the_operator_gave_them(world):
    place = await world.place("bucket", "acme")
    await world.engine.users.put_policy("alice", "all", EVERYTHING)
    from tests.s3.authorising import ALICE

    assert await status(world, GET, place, ALICE) == 200


async def test_a_tenant_lists_its_own_buckets_and_names_are_taken_once(world):
    await world.place("ours", "acme")
    await world.place("theirs", "zoo")
    response = await world.door.handle(
        by_header(unsigned(Way(Op.LIST_BUCKETS, "GET", "/"), await world.place("third", "acme")), ACME_USER)
    )
    body = response.body if isinstance(response.body, bytes) else b"".join([each async for each in response.body])
    assert b"<Name>ours</Name>" in body
    assert b"theirs" not in body
    create = Way(Op.CREATE_BUCKET, "PUT", "/{bucket}")
    got, code = await world.ask(by_header(unsigned(create, await world.place("fourth", "zoo")), ACME))
    assert (got, code) == (409, "BucketAlreadyExists")


async def test_the_quota_of_a_tenant_is_for_what_all_its_users_make(world):
    place = await world.place("bucket", "acme")
    await world.engine.quotas.set(user="acme", objects_max=2)
    other = Way(Op.PUT_OBJECT, "PUT", "/{bucket}/another", body=b"new")
    assert await world.ask(by_header(unsigned(other, place), ACME_USER)) == (403, "QuotaExceeded")
    await world.engine.objects.put("bucket", b"k", body_of(b"other"), PutSpec())
