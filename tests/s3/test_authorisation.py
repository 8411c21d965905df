"""Who may do what, through the door: what each request needs, copies, and what a refusal does not tell."""

import json
from base64 import b64encode
from dataclasses import replace
from hashlib import md5

import msgspec
import pytest
from botocore.credentials import Credentials

from stratum.core.objects import ListQuery, PutSpec
from stratum.core.policy import KIND as POLICY
from stratum.core.policy import PolicyText
from stratum.core.records import Acl, Grant
from stratum.core.versions import ENABLED
from stratum.s3.actions import needs_of
from stratum.s3.routes import Op
from tests.engine.conftest import body_of
from tests.s3.authorising import ALICE, BOB, MODES, OPERATOR, WAYS, Way, by_header, form, sent, unsigned, world_at

EVERYTHING = ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*", "arn:aws:s3:::source/*", "arn:aws:s3:::*"]
UNSAID = {Op.DELETE_OBJECTS, Op.POST_OBJECT}  # each key by itself; a form


@pytest.fixture
async def world(tmp_path):
    async with world_at(tmp_path) as made:
        yield made


def document(*statements: tuple[str, list[str]], resource=EVERYTHING, **more) -> str:
    found = [{"Effect": effect, "Action": actions, "Resource": resource, **more} for effect, actions in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": found})


async def give(world, *statements, user: str = "alice", **more) -> None:
    await world.engine.users.put_policy(user, "p", document(*statements, **more))


async def bucket_policy(world, bucket: str, *statements, principal="*", **more) -> None:
    resource = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    text = document(*statements, resource=resource, Principal=principal, **more)
    await world.engine.configurations.put(bucket, POLICY, PolicyText(text))


async def put(world, bucket: str, key: str, content: bytes = b"content", **more):
    return await world.engine.objects.put(bucket, key.encode(), body_of(content), PutSpec(**more))


async def actions_of(world, request, monkeypatch) -> set[str]:
    """What the product says that a request needs."""
    found: list = []
    monkeypatch.setattr(
        "stratum.s3.authorisation.needs_of", lambda call: found.extend(needs_of(call)) or needs_of(call)
    )
    await world.ask(request)
    monkeypatch.undo()
    return {need.action for need in found}


@pytest.mark.parametrize("way", [way for way in WAYS if way.op not in UNSAID], ids=str)
async def test_what_a_request_needs_is_enough_and_all_of_it_is_needed(world, way, monkeypatch):
    place = await world.place()
    await give(world, ("Deny", ["s3:ListBucketVersions"]), user="alice")  # so that the quick way is not taken
    needed = await actions_of(world, by_header(unsigned(way, place), ALICE), monkeypatch)
    assert needed
    for action in needed:
        await give(world, ("Allow", ["s3:*"]), ("Deny", [action]))
        status, code = await world.ask(by_header(unsigned(way, place), ALICE))
        assert (status, code) == (403, "" if way.method == "HEAD" else "AccessDenied"), action
    await give(world, ("Allow", sorted(needed)))
    status, code = await world.ask(by_header(unsigned(way, place), ALICE))
    assert status != 403 or code == "InvalidObjectState", code


NEEDS_MORE = {
    "x-amz-tagging": ("a=b", "s3:PutObjectTagging"),
    "x-amz-acl": ("private", "s3:PutObjectAcl"),
    "x-amz-grant-read": ('id="bob"', "s3:PutObjectAcl"),
    "x-amz-object-lock-mode": ("GOVERNANCE", "s3:PutObjectRetention"),
    "x-amz-object-lock-legal-hold": ("ON", "s3:PutObjectLegalHold"),
    "if-match": ('"x"', "s3:GetObject"),
}


@pytest.mark.parametrize("header", NEEDS_MORE)
@pytest.mark.parametrize("target", ["/{bucket}/{key}", "/{bucket}/{key}?uploads"])
async def test_what_a_header_adds_is_needed_too(world, header, target):
    value, action = NEEDS_MORE[header]
    if "uploads" in target and header == "if-match":
        return
    place = await world.place()
    way = Way(Op.PUT_OBJECT, "POST" if "uploads" in target else "PUT", target, ((header, value),))
    await give(world, ("Allow", ["s3:*"]), ("Deny", [action]))
    assert await world.ask(by_header(unsigned(way, place), ALICE)) == (403, "AccessDenied")
    await give(world, ("Allow", ["s3:PutObject", action]))
    assert (await world.ask(by_header(unsigned(way, place), ALICE)))[1] != "AccessDenied"


@pytest.mark.parametrize("way", [way for way in WAYS if "{key}" in way.target and way.op not in UNSAID], ids=str)
async def test_a_refusal_is_the_same_whether_or_not_there_is_such_a_key(world, way):
    place = await world.place()
    conditions = [
        {},
        {"If-Match": '"x"'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
    ]
    answers = set()
    for key in ("k", "missing"):
        for more in conditions:
            made = unsigned(way, type(place)("bucket", key, place.upload), **more)
            answers.add(await world.ask(by_header(made, ALICE)))
            answers.add(await world.ask(sent(unsigned(way, type(place)("bucket", key, place.upload), **more))))
    assert answers == {(403, "" if way.method == "HEAD" else "AccessDenied")}


GET = Way(Op.GET_OBJECT, "GET", "/{bucket}/{key}")


async def test_only_who_may_list_is_told_that_a_key_is_missing(world):
    place = await world.place()
    missing = type(place)("bucket", "missing", "")
    await give(world, ("Allow", ["s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject"]))
    assert await world.ask(by_header(unsigned(GET, missing), ALICE)) == (403, "AccessDenied")
    version = Way(Op.GET_OBJECT, "GET", "/{bucket}/{key}?versionId=null")
    assert await world.ask(by_header(unsigned(version, missing), ALICE)) == (403, "AccessDenied")
    await give(world, ("Allow", ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"]))
    assert await world.ask(by_header(unsigned(GET, missing), ALICE)) == (404, "NoSuchKey")
    assert await world.ask(by_header(unsigned(version, missing), ALICE)) == (404, "NoSuchVersion")


async def test_a_delete_marker_is_as_secret_as_a_missing_key(world):
    place = await world.place()
    await world.engine.buckets.amend("bucket", lambda bucket: msgspec.structs.replace(bucket, versioning=ENABLED))
    await world.engine.objects.delete("bucket", b"k")
    await give(world, ("Allow", ["s3:GetObject"]))
    response = await world.door.handle(by_header(unsigned(GET, place), ALICE))
    assert response.status == 403
    assert not any(name in (b"x-amz-delete-marker", b"x-amz-version-id") for name, _ in response.headers)


async def test_a_bucket_that_is_not_there_is_no_secret(world):
    await world.place()
    nowhere = type(await world.place("other"))("nowhere", "k", "u")
    for way in WAYS:
        if "{bucket}" in way.target and way.op not in (Op.CREATE_BUCKET, Op.POST_OBJECT, Op.DELETE_OBJECTS):
            status, code = await world.ask(by_header(unsigned(way, nowhere), ALICE))
            assert (status, code) in ((404, "NoSuchBucket"), (404, "")), str(way)


# --- copies -----------------------------------------------------------------------------------------------------

COPY = "/{bucket}/copy"
MATRIX = [(source, target) for source in (True, False) for target in (True, False)]


def copying(source: str, part: str = "") -> Way:
    return Way(Op.COPY_OBJECT, "PUT", COPY + part, (("x-amz-copy-source", source),))


@pytest.mark.parametrize(("readable", "writable"), MATRIX)
@pytest.mark.parametrize("version", ["", "?versionId=null"])
@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("same", [False, True])
async def test_a_copy_needs_its_source_and_its_destination(world, readable, writable, version, tagged, same):
    place = await world.place()
    source = "bucket" if same else "source"
    if not same:
        await world.engine.buckets.create("source", "bob")
    await put(world, source, "secret", tags={"a": "b"} if tagged else {})
    reading = (
        ["s3:GetObjectVersion", "s3:GetObjectVersionTagging"] if version else ["s3:GetObject", "s3:GetObjectTagging"]
    )
    allowed = (reading if readable else []) + (["s3:PutObject", "s3:PutObjectTagging"] if writable else [])
    await give(world, ("Allow", allowed or ["s3:ListAllMyBuckets"]))
    before = world.everything()
    status, code = await world.ask(by_header(unsigned(copying(f"/{source}/secret{version}"), place), ALICE))
    if readable and writable:
        assert status == 200
    else:
        assert (status, code) == (403, "AccessDenied")
        assert world.everything() == before


@pytest.mark.parametrize("missing", ["s3:GetObjectTagging", "s3:PutObjectTagging"])
async def test_tags_are_copied_only_by_who_may_read_and_write_them(world, missing):
    place = await world.place()
    await put(world, "bucket", "tagged", tags={"a": "b"})
    await give(world, ("Allow", ["s3:*"]), ("Deny", [missing]))
    assert await world.ask(by_header(unsigned(copying("/bucket/tagged"), place), ALICE)) == (403, "AccessDenied")
    assert (await world.ask(by_header(unsigned(copying("/bucket/old"), place), ALICE)))[0] == 200
    way = Way(
        Op.COPY_OBJECT, "PUT", COPY, (("x-amz-copy-source", "/bucket/tagged"), ("x-amz-tagging-directive", "REPLACE"))
    )
    assert (await world.ask(by_header(unsigned(way, place), ALICE)))[0] == 200


async def test_a_part_is_copied_only_from_what_may_be_read(world):
    place = await world.place("bucket", "alice")
    await world.engine.buckets.create("source", "bob")
    await put(world, "source", "secret")
    part = f"?partNumber=1&uploadId={place.upload}"
    way = Way(Op.UPLOAD_PART_COPY, "PUT", "/{bucket}/k" + part, (("x-amz-copy-source", "/source/secret"),))
    assert await world.ask(by_header(unsigned(way, place), ALICE)) == (403, "AccessDenied")
    await bucket_policy(world, "source", ("Allow", ["s3:GetObject"]), principal={"AWS": "alice"})
    assert (await world.ask(by_header(unsigned(way, place), ALICE)))[0] == 200


@pytest.mark.parametrize("header", ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"])
async def test_another_owner_than_was_expected_is_a_refusal(world, header):
    place = await world.place("bucket", "alice")
    way = copying("/bucket/old")
    assert (await world.ask(by_header(unsigned(way, place, **{header: "alice"}), ALICE)))[0] == 200
    assert await world.ask(by_header(unsigned(way, place, **{header: "bob"}), ALICE)) == (403, "AccessDenied")
    assert await world.ask(by_header(unsigned(way, place, **{header: "bob"}), OPERATOR)) == (403, "AccessDenied")


# --- policies that look at the request --------------------------------------------------------------------------


async def test_the_tags_of_a_body_are_judged_before_they_are_stored(world):
    place = await world.place()
    condition = {"StringEquals": {"s3:RequestObjectTag/colour": "blue"}}
    await bucket_policy(world, "bucket", ("Allow", ["s3:PutObjectTagging"]), Condition=condition)
    for colour, status in (("blue", 200), ("red", 403)):
        body = f"<Tagging><TagSet><Tag><Key>colour</Key><Value>{colour}</Value></Tag></TagSet></Tagging>".encode()
        way = Way(Op.PUT_OBJECT_TAGGING, "PUT", "/{bucket}/{key}?tagging", body=body)
        assert (await world.ask(by_header(unsigned(way, place), ALICE)))[0] == status
    assert (await world.engine.objects.head("bucket", b"k")).inode.tags == {"colour": "blue"}


async def test_the_tags_an_object_has_are_judged(world):
    place = await world.place()
    condition = {"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}
    await bucket_policy(world, "bucket", ("Allow", ["s3:GetObject"]), Condition=condition)
    assert await world.ask(by_header(unsigned(GET, place), ALICE)) == (403, "AccessDenied")
    await put(world, "bucket", "k", tags={"open": "yes"})
    assert (await world.ask(by_header(unsigned(GET, place), ALICE)))[0] == 200
    assert (await world.ask(sent(unsigned(GET, place))))[0] == 200


async def test_an_explicit_deny_binds_the_owner_and_the_operator_but_not_their_hand_on_the_policy(world):
    place = await world.place("bucket", "alice")
    await bucket_policy(world, "bucket", ("Deny", ["s3:*"]))
    policy = Way(Op.GET_BUCKET_POLICY, "GET", "/{bucket}?policy")
    for who in (ALICE, OPERATOR):
        assert await world.ask(by_header(unsigned(GET, place), who)) == (403, "AccessDenied")
        assert (await world.ask(by_header(unsigned(policy, place), who)))[0] == 200
    assert await world.ask(by_header(unsigned(policy, place), BOB)) == (403, "AccessDenied")


async def test_deleting_many_keys_is_decided_key_by_key(world):
    place = await world.place()
    await put(world, "bucket", "mine/x")
    await give(world, ("Allow", ["s3:DeleteObject"]), resource=["arn:aws:s3:::bucket/mine/*"])
    body = b"<Delete><Object><Key>k</Key></Object><Object><Key>mine/x</Key></Object></Delete>"
    digest = b64encode(md5(body).digest()).decode()
    way = Way(Op.DELETE_OBJECTS, "POST", "/{bucket}?delete", (("content-md5", digest),), body)
    assert await world.ask(by_header(unsigned(way, place), ALICE)) == (200, "AccessDenied")
    left = await world.engine.objects.list("bucket", ListQuery())
    assert [view.key for view in left.objects] == [b"k", b"old"]


async def test_a_policy_that_cannot_be_read_lets_nobody_in(world):
    place = await world.place("bucket", "alice")
    await world.engine.configurations.put("bucket", POLICY, PolicyText("{"))
    for who in (ALICE, OPERATOR, BOB):
        assert (await world.ask(by_header(unsigned(GET, place), who)))[0] == 500


async def test_a_key_stops_working_with_its_user(world):
    place = await world.place("bucket", "bob")
    await give(world, ("Allow", ["s3:*"]))
    assert (await world.ask(by_header(unsigned(GET, place), ALICE)))[0] == 200
    await world.engine.users.delete("alice")
    assert await world.ask(by_header(unsigned(GET, place), ALICE)) == (403, "InvalidAccessKeyId")


async def test_keys_without_a_user_and_owners_that_are_none_are_the_operators(world):
    made = await world.engine.credentials.create("")
    place = await world.place("bucket", "STROLDACCESSKEY")
    assert (await world.ask(by_header(unsigned(GET, place), Credentials(made.access_key, made.secret_key))))[0] == 200
    assert await world.ask(by_header(unsigned(GET, place), ALICE)) == (403, "AccessDenied")


# --- nobody in particular ---------------------------------------------------------------------------------------

LEFTOVERS = ["X-Amz-Credential=x", "x-amz-signature=x", "X-Amz-Date=x", "Signature=x", "Expires=1", "AWSAccessKeyId=x"]


@pytest.mark.parametrize("leftover", [*LEFTOVERS, *(each.lower() for each in LEFTOVERS)])
async def test_half_a_signature_is_not_nobodys_even_where_anybody_may(world, leftover):
    place = await world.place()
    await bucket_policy(world, "bucket", ("Allow", ["s3:*"]))
    request = sent(unsigned(GET, place))
    assert (await world.ask(request))[0] == 200
    assert (await world.ask(replace(sent(unsigned(GET, place)), raw_query=leftover.encode())))[0] in (400, 403)


async def test_a_header_of_a_signature_is_not_nobodys_either(world):
    place = await world.place()
    await bucket_policy(world, "bucket", ("Allow", ["s3:*"]))
    for name, value in (("Authorization", ""), ("Authorization", "Bearer x"), ("X-Amz-Security-Token", "x")):
        assert (await world.ask(sent(unsigned(GET, place, **{name: value}))))[0] in (400, 403), name


async def test_a_form_of_nobody_stores_where_anybody_may_write_and_nowhere_else(world):
    await world.place()
    before = world.everything()
    assert await world.ask(form()) == (403, "AccessDenied")
    assert world.everything() == before
    await bucket_policy(world, "bucket", ("Allow", ["s3:PutObject"]))
    assert (await world.ask(form()))[0] == 204
    assert (await world.engine.objects.head("bucket", b"k")).size == 3


async def test_policies_see_how_a_request_was_signed(world):
    place = await world.place()
    condition = {"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}
    await bucket_policy(world, "bucket", ("Deny", ["s3:GetObject"]), Condition=condition)
    answers = {mode: (await world.ask(sign(unsigned(GET, place), OPERATOR)))[0] for mode, sign in MODES.items()}
    assert answers == {"header": 200, "query": 200, "old header": 403, "old query": 403}
    condition = {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}
    await bucket_policy(world, "bucket", ("Deny", ["s3:GetObject"]), Condition=condition)
    answers = {mode: (await world.ask(sign(unsigned(GET, place), OPERATOR)))[0] for mode, sign in MODES.items()}
    assert answers == {"header": 200, "query": 403, "old header": 200, "old query": 403}


async def test_a_grant_that_is_taken_back_while_the_body_arrives_counts_no_more(world):
    place = await world.place()
    await world.engine.buckets.amend("bucket", lambda bucket: msgspec.structs.replace(bucket, foreign=True))
    acl = Acl((Grant("id:alice", "WRITE_ACP"),))
    await put(world, "bucket", "k", acl=acl)
    body = b"<AccessControlPolicy><Owner><ID>stratum</ID></Owner><AccessControlList/></AccessControlPolicy>"
    way = Way(Op.PUT_OBJECT_ACL, "PUT", "/{bucket}/{key}?acl", (), body)

    async def arriving():
        await put(world, "bucket", "k", b"another object, which grants nothing")
        yield body

    request = by_header(unsigned(way, place), ALICE)
    assert await world.ask(replace(request, body=arriving())) == (403, "AccessDenied")
    assert (await world.engine.objects.head("bucket", b"k")).inode.acl is None
    await put(world, "bucket", "k", acl=acl)
    assert (await world.ask(by_header(unsigned(way, place), ALICE)))[0] == 200
