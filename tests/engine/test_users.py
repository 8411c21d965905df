"""Users, their keys and their policies: what is stored, what is refused, and whose keys are whose."""

import pytest

from stratum.core.errors import (
    CredentialExists,
    InvalidArgument,
    MalformedPolicy,
    NoSuchCredential,
    NoSuchPolicy,
    NoSuchUser,
    UserExists,
    UserOwnsBuckets,
)
from stratum.core.principals import OPERATOR_ID
from stratum.core.schema import by_email_key
from stratum.engine.credentials import KeyPair
from stratum.engine.users import EMAILS_KEPT
from tests.engine.conftest import ROOT, engine_at

ALLOW = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}'
PAIR = KeyPair("AKIAOLDSTORE", "a/secret+from=elsewhere")


async def test_a_user_has_the_id_it_came_with_or_one_that_nobody_has(engine):
    assert await engine.users.create("Alice", user="alice", email="alice@example.com") == "alice"
    made = await engine.users.create("Bob")
    assert len(made) == 64
    assert set(made) <= set("0123456789abcdef")
    assert {user: record.name for user, record in engine.users.list()} == {"alice": "Alice", made: "Bob"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 129},
        {"name": "a\nb"},
        {"name": "x", "user": "a b"},
        {"name": "x", "user": "a" * 129},
        {"name": "x", "user": "é"},
        {"name": "x", "user": OPERATOR_ID},
        {"name": "x", "user": "anonymous"},
        {"name": "x", "email": "nobody"},
        {"name": "x", "email": "a@b c"},
        {"name": "x", "account": "*"},
    ],
    ids=str,
)
async def test_a_user_that_could_not_be_named_is_refused(engine, wrong):
    with pytest.raises(InvalidArgument):
        await engine.users.create(**wrong)
    assert engine.users.list() == []


async def test_no_two_users_can_be_meant_by_one_name(engine):
    await engine.users.create("Alice", user="alice", email="Alice@example.com")
    await engine.credentials.create("", pair=PAIR)
    for again in (
        {"name": "Other", "user": "alice"},
        {"name": "Other", "email": "alice@EXAMPLE.com"},
        {"name": "Alice", "account": "alice"},
        {"name": "alice", "account": "alice"},
        {"name": "Other", "user": PAIR.access_key},  # old stores name access keys as owners
    ):
        with pytest.raises(UserExists):
            await engine.users.create(**again)
    await engine.users.create("Alice", user="another")  # of another account: names of accounts keep them apart


async def test_an_account_is_that_of_a_user_there_is(engine):
    with pytest.raises(NoSuchUser):
        await engine.users.create("Carol", account="nobody")
    await engine.users.create("Alice", user="alice")
    await engine.users.create("Carol", user="carol", account="alice")
    with pytest.raises(NoSuchUser):
        await engine.users.create("Dave", account="carol")
    with pytest.raises(UserOwnsBuckets):
        await engine.users.delete("alice")


async def test_a_deleted_user_takes_its_keys_along_but_leaves_no_bucket_without_an_owner(engine):
    await engine.users.create("Alice", user="alice2")
    made = await engine.credentials.create("", user="alice2")
    other = await engine.credentials.create("")
    await engine.buckets.create("of-alice", "alice2")
    with pytest.raises(UserOwnsBuckets):
        await engine.users.delete("alice2")
    await engine.buckets.delete("of-alice")
    await engine.users.delete("alice2")
    for gone in (made.access_key, "nobody"):
        with pytest.raises(NoSuchCredential):
            engine.credentials.secret_of(gone)
        with pytest.raises(NoSuchCredential):
            engine.credentials.principal_of(gone)
    assert engine.credentials.secret_of(other.access_key) == other.secret_key
    with pytest.raises(NoSuchUser):
        await engine.users.delete("alice2")


async def test_keys_are_the_users_they_were_made_for_and_else_the_operators(engine):
    await engine.users.create("Carol", user="carol")
    await engine.users.create("Dave", user="dave", account="carol")
    mine = await engine.credentials.create("laptop", user="dave")
    principal = engine.credentials.principal_of(mine.access_key)
    assert (principal.user, principal.name, principal.account_id, principal.operator) == (
        "dave",
        "Dave",
        "carol",
        False,
    )
    assert not principal.root
    for key in (ROOT.access_key, (await engine.credentials.create("")).access_key):
        principal = engine.credentials.principal_of(key)
        assert (principal.user, principal.operator, principal.access_key) == (OPERATOR_ID, True, key)
    assert [row.access_key for row in engine.credentials.list("dave")] == [mine.access_key]
    assert len(engine.credentials.list("")) == 1
    with pytest.raises(NoSuchUser):
        await engine.credentials.create("", user="nobody")


async def test_a_pair_of_another_store_is_kept_as_it_is_and_only_once(engine):
    await engine.users.create("Carol", user="carol")
    assert await engine.credentials.create("", user="carol", pair=PAIR) == PAIR
    assert engine.credentials.secret_of(PAIR.access_key) == PAIR.secret_key
    for taken in (PAIR.access_key, ROOT.access_key, "carol"):
        with pytest.raises(CredentialExists):
            await engine.credentials.create("", pair=KeyPair(taken, "another-secret"))
    assert engine.credentials.secret_of(PAIR.access_key) == PAIR.secret_key


@pytest.mark.parametrize(
    ("access", "secret"),
    [
        ("ab", "long-enough-secret"),
        ("a/b", "long-enough-secret"),
        ("a" * 129, "long-enough-secret"),
        ("a\nb", "long-enough-secret"),
        ("good", "short"),
        ("good", "with a space in it"),
        ("good", "x" * 129),
        ("good", "ünicode-secret"),
    ],
)
async def test_a_pair_that_no_client_could_send_is_refused_without_its_secret_in_the_message(engine, access, secret):
    with pytest.raises(InvalidArgument) as caught:
        await engine.credentials.create("", pair=KeyPair(access, secret))
    assert secret not in str(caught.value)
    assert secret not in repr(KeyPair(access, secret))


async def test_policies_are_parsed_before_they_are_stored_and_bounded_in_number(engine):
    await engine.users.create("Carol", user="carol")
    for text in ("", "{}", ALLOW.replace("Allow", "Perhaps"), ALLOW.replace('"Effect"', '"Principal":"*","Effect"')):
        with pytest.raises(MalformedPolicy):
            await engine.users.put_policy("carol", "p", text)
    with pytest.raises(InvalidArgument):
        await engine.users.put_policy("carol", "a b", ALLOW)
    with pytest.raises(NoSuchUser):
        await engine.users.put_policy("nobody", "p", ALLOW)
    for number in range(10):
        await engine.users.put_policy("carol", f"p{number}", ALLOW)
    await engine.users.put_policy("carol", "p0", ALLOW + " ")
    with pytest.raises(InvalidArgument):
        await engine.users.put_policy("carol", "one-more", ALLOW)
    assert engine.users.policies("carol")["p0"] == ALLOW + " "
    await engine.users.delete_policy("carol", "p0")
    with pytest.raises(NoSuchPolicy):
        await engine.users.delete_policy("carol", "p0")
    assert len(engine.users.policies("carol")) == 9


async def test_there_are_only_so_many_users_and_keys(tmp_path):
    async with engine_at(tmp_path, users=2, access_keys=2) as engine:
        for number in range(2):
            await engine.users.create(f"u{number}")
            await engine.credentials.create("")
        with pytest.raises(InvalidArgument):
            await engine.users.create("u2")
        with pytest.raises(InvalidArgument):
            await engine.credentials.create("")


async def test_users_keys_and_policies_outlive_a_restart(tmp_path):
    async with engine_at(tmp_path) as engine:
        await engine.users.create("Carol", user="carol")
        await engine.users.put_policy("carol", "p", ALLOW)
        await engine.credentials.create("", user="carol", pair=PAIR)
    async with engine_at(tmp_path) as engine:
        assert engine.credentials.principal_of(PAIR.access_key).user == "carol"
        assert engine.users.policies("carol") == {"p": ALLOW}


async def test_who_is_no_user_is_the_operator_or_the_owner_of_what_it_is_in(engine):
    await engine.users.create("Carol", user="carol")
    owner_of = engine.users.owner_of
    assert [owner_of(each) for each in ("", "STROLDKEY", "carol", OPERATOR_ID)] == [
        OPERATOR_ID,
        OPERATOR_ID,
        "carol",
        OPERATOR_ID,
    ]
    assert [owner_of(each, "carol") for each in ("", "gone", OPERATOR_ID)] == ["carol", "carol", OPERATOR_ID]


async def test_users_are_found_by_their_address_without_a_look_at_all_of_them(engine):
    await engine.users.create("Ida", user="ida", email="Ida@Example.org")
    assert engine.users.with_email("ida@example.ORG") == ["ida"]
    assert engine.users.with_email("ida@example.or") == []
    assert engine.users.with_email("no address") == []
    await engine.users.delete("ida")
    assert engine.users.with_email("ida@example.org") == []


async def test_users_of_a_store_from_before_are_found_too(engine):
    await engine.users.create("Ida", user="ida", email="ida@example.org")

    def as_before(txn):
        txn.delete(by_email_key("ida@example.org", "ida"))
        txn.delete(EMAILS_KEPT)

    await engine.meta.write(as_before)
    assert engine.users.with_email("ida@example.org") == ["ida"]
