"""May they? The decision against an evaluator that knows nothing of how the product does it."""

import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stratum.core.access import BY_BUCKET_ACL, BY_OBJECT_ACL, Decision, Ground, decide, object_allows
from stratum.core.acl import ENFORCED, OWNERSHIPS, PERMISSIONS, WRITER
from stratum.core.policy import AccessRequest, parse_policy
from stratum.core.principals import ANONYMOUS, OPERATOR, Principal
from stratum.core.public_access import NO_BLOCK, PublicAccessBlock
from stratum.core.records import Acl, Grant

ALICE = Principal(user="alice", name="alice")
BOB = Principal(user="bob", name="bob")
MEMBER = Principal(user="carol", name="carol", account="alice")  # of alice's account, not its root
OTHER = Principal(user="dave", name="dave", account="bob")  # of bob's
WHO = [OPERATOR, ALICE, BOB, MEMBER, OTHER, ANONYMOUS]
ACTIONS = [
    "s3:GetObject", "s3:GetObjectAcl", "s3:PutObjectAcl", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket",
    "s3:GetBucketAcl", "s3:PutBucketAcl", "s3:GetObjectTagging", "s3:PutBucketPolicy", "s3:PutBucketCORS",
]  # fmt: skip
GROUPS = ["group:AllUsers", "group:AuthenticatedUsers", "group:LogDelivery"]

grants = st.builds(
    Grant, st.sampled_from(["id:alice", "id:bob", "id:carol", "id:stratum", *GROUPS]), st.sampled_from(PERMISSIONS)
)
acls = st.none() | st.builds(lambda found: Acl(tuple(found)), st.lists(grants, max_size=3))
principals = st.sampled_from(["*", {"AWS": "alice"}, {"AWS": "bob"}, {"AWS": "arn:aws:iam::alice:user/carol"}])


@st.composite
def statements(draw, *, named: bool):
    made = {
        "Effect": draw(st.sampled_from(["Allow", "Deny"])),
        "Action": draw(st.lists(st.sampled_from([*ACTIONS, "s3:*"]), min_size=1, max_size=3)),
        "Resource": "arn:aws:s3:::b*" if not named else ["arn:aws:s3:::b", "arn:aws:s3:::b/*"],
    }
    return made | ({"Principal": draw(principals)} if named else {})


@st.composite
def policies(draw, *, named: bool):
    found = draw(st.lists(statements(named=named), max_size=2))
    return found or None


@st.composite
def worlds(draw):
    """Everything a decision may rest on, as plain values."""
    return {
        "who": draw(st.sampled_from(WHO)),
        "tenants": draw(st.sets(st.sampled_from(["alice", "bob"]))),
        "action": draw(st.sampled_from(ACTIONS)),
        "owner": draw(st.sampled_from(["alice", "stratum"])),
        "policy": draw(policies(named=True)),
        "identity": draw(policies(named=False)),
        "confirmed": draw(st.booleans()),
        "acl": draw(acls),
        "object_owner": draw(st.sampled_from(["alice", "bob", "stratum"])),
        "object_acl": draw(acls),
        "ownership": draw(st.sampled_from(OWNERSHIPS)),
        "block": PublicAccessBlock(ignore_public_acls=draw(st.booleans()), restrict_public_buckets=draw(st.booleans())),
    }


def product(world) -> bool:
    """What the product says."""

    def parsed(found, bucket):
        return parse_policy(json.dumps({"Version": "2012-10-17", "Statement": found}), bucket) if found else None

    identity = parsed(world["identity"], "") if world["who"] not in (OPERATOR, ANONYMOUS) else None
    ground = Ground(
        owner=world["owner"],
        policy=parsed(world["policy"], "b"),
        confirmed=world["confirmed"],
        acl=world["acl"],
        ownership=world["ownership"],
        block=world["block"],
        foreign=world["object_owner"] != world["owner"],
        identity=() if identity is None else (identity,),
        tenant=world["who"].account_id in world.get("tenants", ()),
    )
    resource = "arn:aws:s3:::b/k" if "Object" in world["action"] else "arn:aws:s3:::b"
    asked = AccessRequest(principal=world["who"], action=world["action"], resource=resource, context={})
    decision = decide(asked, ground)
    if decision is Decision.OBJECT:
        return object_allows(asked, ground, world["object_owner"], world["object_acl"])
    return decision is Decision.ALLOW


def independent(world) -> bool:
    """What it should say, written down rule by rule."""
    who, action, owner = world["who"], world["action"], world["owner"]
    me = None if who.anonymous else who.user
    rules = me == "stratum" or me == owner
    foreign = world["object_owner"] != owner

    def says(effect, found, mine):
        for each in found or []:
            if each["Effect"] == effect and (action in each["Action"] or "s3:*" in each["Action"]) and mine(each):
                return True
        return False

    def named(each):
        principal = each["Principal"]
        if principal == "*":
            return True
        return {"alice": me in ("alice", "carol"), "bob": me in ("bob", "dave")}.get(principal["AWS"], me == "carol")

    identity = [] if me in (None, "stratum") else world["identity"]
    if action == "s3:PutBucketPolicy" and rules and not world["confirmed"]:
        return True
    if says("Deny", world["policy"], named) or says("Deny", identity, lambda each: True):
        return False
    if me == "stratum":
        return True
    of_the_object = action in ("s3:GetObject", "s3:GetObjectAcl", "s3:PutObjectAcl")
    enforced = world["ownership"] == ENFORCED
    if rules and not (foreign and of_the_object and not enforced):
        return True
    account = {"carol": "alice", "dave": "bob"}.get(me, me)
    across = account in world.get("tenants", ()) and account != owner
    if not rules:
        own_side = says("Allow", identity, lambda each: True)
        if across and me != account and not own_side:
            return False
        if own_side and not across:
            return True
        public = any(each["Effect"] == "Allow" and each["Principal"] == "*" for each in world["policy"] or [])
        inside = me == "carol" and owner == "alice"
        if says("Allow", world["policy"], named) and not (
            world["block"].restrict_public_buckets and public and not inside
        ):
            return True
    if enforced:
        return False

    def granted(acl, its_owner, permission):
        found = {Grant(f"id:{its_owner}", "FULL_CONTROL")} if acl is None else set(acl.grants)
        mine = {f"id:{me}"} if me else set()
        if not world["block"].ignore_public_acls:
            mine |= {"group:AllUsers"} | ({"group:AuthenticatedUsers"} if me else set())
        implied = permission in ("READ_ACP", "WRITE_ACP") and me == its_owner
        return implied or any(g.grantee in mine and g.permission in (permission, "FULL_CONTROL") for g in found)

    of_bucket = {
        "s3:ListBucket": "READ", "s3:PutObject": "WRITE", "s3:DeleteObject": "WRITE",
        "s3:GetBucketAcl": "READ_ACP", "s3:PutBucketAcl": "WRITE_ACP",
    }  # fmt: skip
    if action in of_bucket:
        return granted(world["acl"], owner, of_bucket[action])
    of_object = {"s3:GetObject": "READ", "s3:GetObjectAcl": "READ_ACP", "s3:PutObjectAcl": "WRITE_ACP"}
    return action in of_object and granted(world["object_acl"], world["object_owner"], of_object[action])


@settings(max_examples=1500, deadline=None)
@given(worlds())
def test_decisions_are_those_of_an_independent_evaluator(world):
    assert product(world) is independent(world)


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_a_deny_of_everything_leaves_nothing_but_the_policy_itself(world):
    denied = [
        {"Effect": "Deny", "Principal": "*", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}
    ]
    world["policy"] = (world["policy"] or []) + denied
    allowed = product(world)
    me = world["who"].user
    assert allowed is (
        world["action"] == "s3:PutBucketPolicy" and me in ("stratum", world["owner"]) and not world["confirmed"]
    )


@settings(max_examples=300, deadline=None)
@given(worlds())
@example({
    "who": ANONYMOUS, "action": "s3:GetObject", "owner": "alice", "policy": None, "identity": None, "confirmed": False,
    "acl": None, "object_owner": "alice", "object_acl": Acl((Grant("group:AllUsers", "READ"),)), "ownership": WRITER,
    "block": NO_BLOCK,
})  # fmt: skip
def test_a_block_never_lets_in_anybody_more(world):
    open_to = product({**world, "block": NO_BLOCK})
    blocked = product({**world, "block": PublicAccessBlock(ignore_public_acls=True, restrict_public_buckets=True)})
    assert open_to or not blocked


def ground(**named) -> Ground:
    return Ground(**{"owner": "alice", "ownership": WRITER, "block": NO_BLOCK} | named)


def asked(who: Principal, action: str) -> AccessRequest:
    return AccessRequest(principal=who, action=action, resource="arn:aws:s3:::b/k", context={})


WRITABLE = Acl((Grant("group:AllUsers", "WRITE"),))


@pytest.mark.parametrize(
    ("action", "acl", "allowed"),
    [
        ("s3:PutObjectAcl", None, True),  # of an object of one's own; that it may be stored at all is another question
        ("s3:PutObjectTagging", WRITABLE, True),
        ("s3:PutObjectTagging", None, False),
        ("s3:PutObjectRetention", WRITABLE, False),
        ("s3:PutObjectLegalHold", WRITABLE, False),
    ],
)
def test_who_may_write_by_acl_says_who_may_read_but_never_locks_the_owner_out(action, acl, allowed):
    decision = decide(asked(BOB, action), ground(acl=acl), creating=True)
    assert decision is (Decision.ALLOW if allowed else Decision.DENY)


def test_a_member_of_the_owners_account_needs_a_policy_even_for_what_it_stores():
    for action in ("s3:PutObject", "s3:PutObjectAcl", "s3:PutObjectTagging"):
        assert decide(asked(MEMBER, action), ground(), creating=action != "s3:PutObject") is Decision.DENY


def test_the_owner_may_delete_what_others_own_and_see_it_only_where_acls_do_not_count():
    foreign = ground(foreign=True)
    assert decide(asked(ALICE, "s3:DeleteObject"), foreign) is Decision.ALLOW
    assert not object_allows(asked(ALICE, "s3:GetObject"), foreign, "bob", None)
    assert decide(asked(ALICE, "s3:GetObject"), replace(foreign, ownership=ENFORCED)) is Decision.ALLOW


def test_no_acl_speaks_of_configurations():
    speaking = {*BY_BUCKET_ACL, *BY_OBJECT_ACL}
    assert not any(word in action for action in speaking for word in ("Policy", "CORS", "Lifecycle", "Block", "Lock"))
