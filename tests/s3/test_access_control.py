"""ACLs, ownership and users, with real clients."""

import time
from contextlib import asynccontextmanager
from functools import partial

import botocore.exceptions
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from stratum.engine.credentials import KeyPair
from stratum.s3.door import S3Door
from tests.s3.authorising import OPERATOR, Place, Way, by_header, unsigned
from tests.s3.test_door import refused
from tests.sdk import sdk_client

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"


class Person:
    """A client of one user."""

    def __init__(self, endpoint, client) -> None:
        self._endpoint, self.client = endpoint, client

    async def call(self, method: str, **arguments):
        return await self._endpoint.run(partial(getattr(self.client, method), **arguments))


@pytest.fixture
async def people(endpoint):
    """alice, bob and nobody in particular."""
    made = {}
    for name in ("alice", "bob"):
        await endpoint.engine.users.create(name.title(), user=name, email=f"{name}@example.com")
        pair = KeyPair(f"{name}-key", f"{name}-secret-key")
        await endpoint.engine.credentials.create("", user=name, pair=pair)
        made[name] = Person(endpoint, endpoint.client_for(pair.access_key, pair.secret_key))
    made["nobody"] = Person(endpoint, anonymous(endpoint))
    yield made
    for person in made.values():
        await endpoint.run(person.client.close)


def anonymous(endpoint):
    config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return sdk_client("s3", endpoint_url=endpoint.url, region_name="us-east-1", config=config)


@asynccontextmanager
async def denied(code: str = "AccessDenied", status: int = 403):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        yield
    assert (caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]) == (
        status,
        code,
    )


def grants(answer) -> list[tuple[str, str]]:
    return sorted(
        (each["Grantee"].get("ID") or each["Grantee"]["URI"].rpartition("/")[2], each["Permission"])
        for each in answer["Grants"]
    )


# --- users own what they make -----------------------------------------------------------------------------------


async def test_each_user_sees_and_owns_its_own_buckets(endpoint, people):
    alice, bob = people["alice"], people["bob"]
    await alice.call("create_bucket", Bucket="of-alice")
    await bob.call("create_bucket", Bucket="of-bob")
    found = await alice.call("list_buckets")
    assert ([each["Name"] for each in found["Buckets"]], found["Owner"]) == (
        ["of-alice"],
        {"ID": "alice", "DisplayName": "Alice"},
    )
    assert [each["Name"] for each in (await endpoint.call("list_buckets"))["Buckets"]] == ["bucket"]
    async with denied("BucketAlreadyExists", 409):
        await bob.call("create_bucket", Bucket="of-alice")
    async with denied():
        await bob.call("list_objects_v2", Bucket="of-alice")
    async with denied():
        await people["nobody"].call("list_buckets")


async def test_a_user_may_be_forbidden_to_make_buckets(endpoint, people):
    text = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:CreateBucket","Resource":"*"}}'
    await endpoint.engine.users.put_policy("alice", "none", text)
    async with denied():
        await people["alice"].call("create_bucket", Bucket="of-alice")


async def test_a_bucket_made_again_is_the_same_or_a_conflict_and_never_changed(endpoint, people):
    alice = people["alice"]
    await alice.call("create_bucket", Bucket="twice")
    await alice.call("create_bucket", Bucket="twice")
    async with denied("BucketAlreadyExists", 409):
        await alice.call("create_bucket", Bucket="twice", ACL="public-read")
    assert grants(await alice.call("get_bucket_acl", Bucket="twice")) == [("alice", "FULL_CONTROL")]


# --- canned ACLs and grants -------------------------------------------------------------------------------------

CANNED = {
    "private": [],
    "public-read": [("AllUsers", "READ")],
    "public-read-write": [("AllUsers", "READ"), ("AllUsers", "WRITE")],
    "authenticated-read": [("AuthenticatedUsers", "READ")],
    "aws-exec-read": [],
}


@pytest.mark.parametrize("canned", CANNED)
async def test_canned_acls_say_what_they_say_at_aws(endpoint, people, canned):
    alice, expected = people["alice"], sorted([*CANNED[canned], ("alice", "FULL_CONTROL")])
    await alice.call("create_bucket", Bucket="made", ACL=canned)
    await alice.call("put_object", Bucket="made", Key="k", Body=b"x", ACL=canned)
    await alice.call("copy_object", Bucket="made", Key="c", CopySource="made/k", ACL=canned)
    upload = (await alice.call("create_multipart_upload", Bucket="made", Key="m", ACL=canned))["UploadId"]
    part = await alice.call("upload_part", Bucket="made", Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    named = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    await alice.call("complete_multipart_upload", Bucket="made", Key="m", UploadId=upload, MultipartUpload=named)
    assert grants(await alice.call("get_bucket_acl", Bucket="made")) == expected
    for key in ("k", "c", "m"):
        assert grants(await alice.call("get_object_acl", Bucket="made", Key=key)) == expected
    await alice.call("put_object_acl", Bucket="made", Key="k", ACL="private")
    assert grants(await alice.call("get_object_acl", Bucket="made", Key="k")) == [("alice", "FULL_CONTROL")]


@pytest.mark.parametrize(
    ("canned", "who", "read", "write"),
    [
        ("private", "bob", False, False),
        ("public-read", "nobody", True, False),
        ("public-read", "bob", True, False),
        ("public-read-write", "nobody", True, True),
        ("authenticated-read", "bob", True, False),
        ("authenticated-read", "nobody", False, False),
    ],
)
async def test_the_acl_of_a_bucket_lets_in_whom_it_names(endpoint, people, canned, who, read, write):
    alice, other = people["alice"], people[who]
    await alice.call("create_bucket", Bucket="shared", ACL=canned)
    await alice.call("put_object", Bucket="shared", Key="k", Body=b"x")
    for allowed, method, arguments in (
        (read, "list_objects_v2", {}),
        (write, "put_object", {"Key": "new", "Body": b"x"}),
        (write, "delete_object", {"Key": "gone"}),
        (False, "get_object", {"Key": "k"}),
        (False, "get_bucket_acl", {}),
        (False, "put_bucket_acl", {"ACL": "private"}),
        (False, "delete_bucket", {}),
    ):
        if allowed:
            await other.call(method, Bucket="shared", **arguments)
        else:
            async with denied():
                await other.call(method, Bucket="shared", **arguments)


async def test_grants_name_users_by_id_and_email_and_groups_by_uri(endpoint, people):
    alice = people["alice"]
    await alice.call("create_bucket", Bucket="shared")
    more = {"GrantRead": f'emailAddress="bob@example.com", uri="{ALL}"', "GrantReadACP": "id=bob"}
    await alice.call("put_object", Bucket="shared", Key="k", Body=b"x", **more)
    shown = await alice.call("get_object_acl", Bucket="shared", Key="k")
    assert grants(shown) == [("AllUsers", "READ"), ("bob", "READ"), ("bob", "READ_ACP")]
    assert shown["Owner"] == {"ID": "alice", "DisplayName": "Alice"}
    assert (
        await endpoint.run(lambda: people["nobody"].client.get_object(Bucket="shared", Key="k")["Body"].read()) == b"x"
    )
    assert grants(await people["bob"].call("get_object_acl", Bucket="shared", Key="k")) == grants(shown)
    policy = {
        "Owner": shown["Owner"],
        "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": "bob"}, "Permission": "WRITE_ACP"}],
    }
    await alice.call("put_object_acl", Bucket="shared", Key="k", AccessControlPolicy=policy)
    async with denied():
        await people["bob"].call("get_object_acl", Bucket="shared", Key="k")
    await people["bob"].call("put_object_acl", Bucket="shared", Key="k", ACL="public-read")
    assert grants(await alice.call("get_object_acl", Bucket="shared", Key="k")) == [
        ("AllUsers", "READ"),
        ("alice", "FULL_CONTROL"),
    ]


BAD = [
    ({"ACL": "public"}, "InvalidArgument"),
    ({"ACL": "private", "GrantRead": "id=bob"}, "InvalidRequest"),
    ({"GrantRead": "id=nobody-there"}, "InvalidArgument"),
    ({"GrantRead": "emailAddress=x@example.com"}, "UnresolvableGrantByEmailAddress"),
    ({"GrantRead": "uri=http://example.com"}, "InvalidArgument"),
    ({"GrantRead": "who=bob"}, "InvalidArgument"),
    ({"GrantRead": 'id="bob'}, "InvalidArgument"),
    ({"GrantRead": ",".join(["id=bob"] * 101)}, "InvalidArgument"),
]


@pytest.mark.parametrize(("arguments", "code"), BAD, ids=lambda value: str(value)[:50])
async def test_an_acl_that_is_not_understood_is_refused_and_nothing_is_stored(endpoint, people, arguments, code):
    alice = people["alice"]
    for method, more in (("create_bucket", {"Bucket": "new"}), ("put_bucket_acl", {"Bucket": "own"})):
        if method == "put_bucket_acl":
            await alice.call("create_bucket", Bucket="own")
        async with denied(code, 400):
            await alice.call(method, **more, **arguments)
    async with denied(code, 400):
        await alice.call("put_object", Bucket="own", Key="k", Body=b"", **arguments)
    assert (await alice.call("list_objects_v2", Bucket="own"))["KeyCount"] == 0
    assert [each["Name"] for each in (await alice.call("list_buckets"))["Buckets"]] == ["own"]
    assert grants(await alice.call("get_bucket_acl", Bucket="own")) == [("alice", "FULL_CONTROL")]


OWNER, GRANTEE = "<Owner><ID>stratum</ID></Owner>", "<Grantee><ID>bob</ID></Grantee>"
LIST = f"<AccessControlList><Grant>{GRANTEE}<Permission>READ</Permission></Grant></AccessControlList>"
DOCUMENTS = {
    f"{OWNER}{LIST}": (200, ""),
    f"<Owner><ID>bob</ID></Owner>{LIST}": (403, "AccessDenied"),
    LIST: (400, "MalformedACLError"),
    OWNER: (400, "MalformedACLError"),
    f"{OWNER}{LIST}{LIST}": (400, "MalformedACLError"),
    f"{OWNER}{LIST}<More/>": (400, "MalformedACLError"),
    f"{OWNER}{LIST.replace('READ', 'EVERYTHING')}": (400, "MalformedACLError"),
    f"{OWNER}{LIST.replace('<ID>bob</ID>', '')}": (400, "MalformedACLError"),
    f"{OWNER}{LIST.replace('<ID>bob</ID>', '<ID>bob</ID><URI>x</URI>')}": (400, "MalformedACLError"),
    f"{OWNER}{LIST.replace('<ID>bob</ID>', '<ID>eve</ID>')}": (400, "InvalidArgument"),
    f"{OWNER}{LIST.replace('Grant>', 'Grunt>')}": (400, "MalformedACLError"),
    "not closed": (400, "MalformedACLError"),
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda value: value[-60:])
@pytest.mark.parametrize("target", ["/bucket?acl", "/bucket/k?acl"])
async def test_documents_are_read_strictly(endpoint, people, document, target):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    body = (
        document.encode()
        if document == "not closed"
        else f"<AccessControlPolicy>{document}</AccessControlPolicy>".encode()
    )
    made = unsigned(Way(None, "PUT", target, (), body), Place("bucket", "k", ""))
    response = await S3Door(endpoint.engine, now_s=lambda: int(time.time())).handle(by_header(made, OPERATOR))
    code = response.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
    assert (response.status, code) == DOCUMENTS[document]


async def test_an_acl_needs_something_to_be_said_and_only_once(endpoint):
    assert await refused(endpoint, "put_bucket_acl", Bucket="bucket") == (400, "MissingSecurityHeader")


async def test_the_acl_belongs_to_the_version(endpoint, people):
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    first = (await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"1"))["VersionId"]
    second = (await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"2"))["VersionId"]
    await endpoint.call("put_object_acl", Bucket="bucket", Key="k", VersionId=first, ACL="public-read")
    nobody = people["nobody"]
    await nobody.call("get_object", Bucket="bucket", Key="k", VersionId=first)
    async with denied():
        await nobody.call("get_object", Bucket="bucket", Key="k", VersionId=second)
    async with denied():
        await nobody.call("get_object", Bucket="bucket", Key="k")


async def test_setting_an_acl_moves_nothing_else(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x", Metadata={"a": "b"})
    before = await endpoint.call("head_object", Bucket="bucket", Key="k")
    await endpoint.call("put_object_acl", Bucket="bucket", Key="k", ACL="public-read")
    after = await endpoint.call("head_object", Bucket="bucket", Key="k")
    for name in ("ETag", "LastModified", "Metadata", "ContentLength"):
        assert before[name] == after[name]


# --- whose is it? -----------------------------------------------------------------------------------------------


async def open_bucket(people, **more) -> None:
    await people["alice"].call("create_bucket", Bucket="open", ACL="public-read-write", **more)


async def test_who_writes_an_object_owns_it_and_is_shown_as_its_owner(endpoint, people):
    alice, bob = people["alice"], people["bob"]
    await open_bucket(people)
    await bob.call("put_object", Bucket="open", Key="k", Body=b"x")
    upload = (await bob.call("create_multipart_upload", Bucket="open", Key="m"))["UploadId"]
    shown = {"ID": "bob", "DisplayName": "Bob"}
    assert (await alice.call("list_objects", Bucket="open"))["Contents"][0]["Owner"] == shown
    assert (await alice.call("list_objects_v2", Bucket="open", FetchOwner=True))["Contents"][0]["Owner"] == shown
    assert (await alice.call("list_object_versions", Bucket="open"))["Versions"][0]["Owner"] == shown
    [listed] = (await alice.call("list_multipart_uploads", Bucket="open"))["Uploads"]
    parts = await bob.call("list_parts", Bucket="open", Key="m", UploadId=upload)
    assert listed["Owner"] == listed["Initiator"] == parts["Owner"] == parts["Initiator"] == shown
    async with denied():
        await alice.call("get_object", Bucket="open", Key="k")
    await bob.call("put_object_acl", Bucket="open", Key="k", ACL="bucket-owner-read")
    await alice.call("get_object", Bucket="open", Key="k")
    async with denied():
        await alice.call("get_object_acl", Bucket="open", Key="k")
    await bob.call("put_object_acl", Bucket="open", Key="k", ACL="bucket-owner-full-control")
    assert grants(await alice.call("get_object_acl", Bucket="open", Key="k")) == [
        ("alice", "FULL_CONTROL"),
        ("bob", "FULL_CONTROL"),
    ]
    await alice.call("delete_object", Bucket="open", Key="k")


async def test_what_nobody_or_the_operator_writes_is_the_bucket_owners(endpoint, people):
    await open_bucket(people)
    await people["nobody"].call("put_object", Bucket="open", Key="a", Body=b"x")
    await endpoint.call("put_object", Bucket="open", Key="b", Body=b"x")
    listed = (await people["alice"].call("list_objects", Bucket="open"))["Contents"]
    assert [each["Owner"]["ID"] for each in listed] == ["alice", "alice"]


async def test_an_upload_is_finished_only_by_who_began_it_or_rules(endpoint, people):
    alice, bob, nobody = people["alice"], people["bob"], people["nobody"]
    await open_bucket(people)
    for starter, stranger in ((bob, nobody), (nobody, bob)):
        upload = (await starter.call("create_multipart_upload", Bucket="open", Key="m"))["UploadId"]
        named = {"Bucket": "open", "Key": "m", "UploadId": upload}
        await starter.call("upload_part", **named, PartNumber=1, Body=b"x")
        for method, more in (
            ("upload_part", {"PartNumber": 2, "Body": b"y"}),
            ("list_parts", {}),
            ("abort_multipart_upload", {}),
        ):
            async with denied():
                await stranger.call(method, **named, **more)
        await starter.call("list_parts", **named)
        await alice.call("abort_multipart_upload", **named)


async def test_under_the_bucket_owners_rule_acls_do_not_count(endpoint, people):
    alice, bob = people["alice"], people["bob"]
    await open_bucket(people)
    await bob.call("put_object", Bucket="open", Key="k", Body=b"x", ACL="public-read")
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    async with denied("InvalidBucketAclWithObjectOwnership", 400):
        await alice.call("put_bucket_ownership_controls", Bucket="open", OwnershipControls=enforced)
    await alice.call("put_bucket_acl", Bucket="open", ACL="private")
    await alice.call("put_bucket_ownership_controls", Bucket="open", OwnershipControls=enforced)
    await alice.call("get_object", Bucket="open", Key="k")
    for who in ("bob", "nobody"):
        async with denied():
            await people[who].call("get_object", Bucket="open", Key="k")
    assert (await alice.call("list_objects", Bucket="open"))["Contents"][0]["Owner"]["ID"] == "alice"
    assert grants(await alice.call("get_object_acl", Bucket="open", Key="k")) == [("alice", "FULL_CONTROL")]
    for method, arguments in (
        ("put_object", {"Key": "n", "Body": b"", "ACL": "private"}),
        ("put_object", {"Key": "n", "Body": b"", "GrantRead": "id=bob"}),
        ("put_object_acl", {"Key": "k", "ACL": "private"}),
        ("put_bucket_acl", {"ACL": "private"}),
        ("create_multipart_upload", {"Key": "n", "ACL": "public-read"}),
    ):
        async with denied("AccessControlListNotSupported", 400):
            await alice.call(method, Bucket="open", **arguments)
    await alice.call("put_object", Bucket="open", Key="n", Body=b"", ACL="bucket-owner-full-control")
    await alice.call("put_object", Bucket="open", Key="n", Body=b"", GrantFullControl="id=alice")
    await alice.call("delete_bucket_ownership_controls", Bucket="open")
    await people["nobody"].call("get_object", Bucket="open", Key="k")


async def test_preferred_ownership_is_given_by_who_writes(endpoint, people):
    alice, bob = people["alice"], people["bob"]
    await open_bucket(people, ObjectOwnership="BucketOwnerPreferred")
    await bob.call("put_object", Bucket="open", Key="given", Body=b"x", ACL="bucket-owner-full-control")
    await bob.call("put_object", Bucket="open", Key="kept", Body=b"x")
    listed = (await alice.call("list_objects", Bucket="open"))["Contents"]
    assert [each["Owner"]["ID"] for each in listed] == ["alice", "bob"]
    await alice.call("get_object", Bucket="open", Key="given")
    async with denied():
        await bob.call("get_object", Bucket="open", Key="given")


async def test_ownership_controls_are_stored_shown_and_taken_away(endpoint):
    code = "OwnershipControlsNotFoundError"
    assert await refused(endpoint, "get_bucket_ownership_controls", Bucket="bucket") == (404, code)
    await endpoint.call("create_bucket", Bucket="enforced", ObjectOwnership="BucketOwnerEnforced")
    shown = await endpoint.call("get_bucket_ownership_controls", Bucket="enforced")
    assert shown["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    await endpoint.call("delete_bucket_ownership_controls", Bucket="enforced")
    assert await refused(endpoint, "get_bucket_ownership_controls", Bucket="enforced") == (404, code)
    bad = {"Rules": [{"ObjectOwnership": "Mine"}]}
    answer = await refused(endpoint, "put_bucket_ownership_controls", Bucket="enforced", OwnershipControls=bad)
    assert answer == (400, "MalformedXML")
    answer = await refused(endpoint, "create_bucket", Bucket="other", ObjectOwnership="Mine")
    assert answer == (400, "InvalidArgument")


# --- the public access block ------------------------------------------------------------------------------------


async def test_public_acls_can_be_ignored_and_refused(endpoint, people):
    alice, nobody = people["alice"], people["nobody"]
    await alice.call("create_bucket", Bucket="open", ACL="public-read")
    await alice.call("put_object", Bucket="open", Key="k", Body=b"x", ACL="public-read")
    await nobody.call("get_object", Bucket="open", Key="k")
    block = {"IgnorePublicAcls": True, "BlockPublicAcls": True}
    await alice.call("put_public_access_block", Bucket="open", PublicAccessBlockConfiguration=block)
    for method, arguments in (("get_object", {"Key": "k"}), ("list_objects", {})):
        async with denied():
            await nobody.call(method, Bucket="open", **arguments)
    for method, arguments in (
        ("put_bucket_acl", {"ACL": "public-read"}),
        ("put_object_acl", {"Key": "k", "ACL": "authenticated-read"}),
        ("put_object", {"Key": "n", "Body": b"", "GrantRead": f"uri={ALL}"}),
        ("copy_object", {"Key": "n", "CopySource": "open/k", "ACL": "public-read"}),
        ("create_multipart_upload", {"Key": "n", "ACL": "public-read-write"}),
    ):
        async with denied():
            await alice.call(method, Bucket="open", **arguments)
    await alice.call("put_object", Bucket="open", Key="n", Body=b"", GrantRead="id=bob")
    await people["bob"].call("get_object", Bucket="open", Key="n")
