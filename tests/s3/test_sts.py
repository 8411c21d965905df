"""Temporary credentials: begun for users and roles, good for what they were given for, ended with what they rest on."""

import base64
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from urllib.parse import urlencode

import pytest
import trio
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from joserfc.jwk import OctKey, RSAKey

from stratum.core.config import OidcProvider
from stratum.engine.credentials import KeyPair
from stratum.engine.engine import open_engine
from stratum.s3.app import make_app
from stratum.s3.door import S3Door
from stratum.s3.hosts import Hosts
from stratum.s3.http import Request
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.s3.sts import ACTIONS
from tests.engine.conftest import MASTERS, ROOT, Clock, settings_for
from tests.s3.authorising import WAYS, Body, World, by_header, unsigned
from tests.s3.conftest import Endpoint
from tests.s3.issuer import AUDIENCE, Issuer
from tests.sdk import sdk_client

REGION = "us-east-1"
EDITOR = "arn:aws:iam::stratum:role/editor"
SECRET = "erin-secret-key"


def policy(effect="Allow", actions="s3:*", resources="*"):
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": actions, "Resource": resources}]}
    )


READ = policy(actions=["s3:GetObject", "s3:ListBucket"])


class Ticking(Clock):
    """Goes by itself, and can be put forward."""

    ahead = 0

    def __call__(self) -> int:
        return super().__call__() + self.ahead


@asynccontextmanager
async def serving(engine):
    listener, stop = open_listener("127.0.0.1", 0), trio.Event()
    app = make_app(S3Door(engine, now_s=lambda: int(time.time())), None, Hosts.of(engine.settings))
    async with trio.open_nursery() as nursery:
        serve = partial(serve_app, app, listener, stop=stop.wait, grace=1.0, serving=Serving())
        address = await nursery.start(serve)
        made = Endpoint(engine, address.port)
        yield made
        await made.run(made.client.close)
        stop.set()


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
async def endpoint(tmp_path, issuer):
    provider = OidcProvider(name="home", issuer=issuer.url, audiences=(AUDIENCE, "other"), allow_private=True)
    clock = Ticking()
    issuer.now = lambda: clock.ns // 10**9
    settings = replace(settings_for(tmp_path), oidc=(provider,))
    async with open_engine(settings, root=ROOT, now_ns=clock, masters=MASTERS) as engine:
        await engine.users.create("Erin", user="erin")
        await engine.users.create("Frank", user="frank")
        await engine.credentials.create("", user="erin", pair=KeyPair("ERINKEY", SECRET))
        await engine.credentials.create("", user="frank", pair=KeyPair("FRANKKEY", "frank-secret-key"))
        await engine.roles.put(
            "editor", policies={"all": policy()}, users=["erin"], provider="home", claims={"groups": "editors"}
        )
        async with serving(engine) as made:
            made.clock = clock
            await made.call("create_bucket", Bucket="bucket")
            await made.call("put_object", Bucket="bucket", Key="k", Body=b"content")
            yield made


def sts(endpoint, access="ERINKEY", secret=SECRET, token=None):
    return sdk_client(
        "sts",
        endpoint_url=endpoint.url,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name=REGION,
        config=Config(retries={"total_max_attempts": 1}),
    )


def s3(endpoint, given, **config):
    return sdk_client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=REGION,
        config=Config(
            signature_version=config.pop("version", "s3v4"),
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
        ),
    )


async def refused(endpoint, work) -> str:
    with pytest.raises(ClientError) as caught:
        await endpoint.run(work)
    return caught.value.response["Error"]["Code"]


async def assumed(endpoint, **more):
    asked = {"RoleArn": EDITOR, "RoleSessionName": "work", **more}
    return (await endpoint.run(partial(sts(endpoint).assume_role, **asked)))["Credentials"]


def read(endpoint, given, key="k"):
    return lambda: s3(endpoint, given).get_object(Bucket="bucket", Key=key)["Body"].read()


# --- what works ----------------------------------------------------------------------------------------------------


async def test_a_user_takes_on_a_role_and_may_do_what_it_may(endpoint):
    answer = await endpoint.run(lambda: sts(endpoint).assume_role(RoleArn=EDITOR, RoleSessionName="work"))
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::stratum:assumed-role/editor/work"
    given = answer["Credentials"]
    assert given["AccessKeyId"].startswith("ASIA")
    assert await endpoint.run(read(endpoint, given)) == b"content"
    client = s3(endpoint, given)
    await endpoint.run(lambda: client.put_object(Bucket="bucket", Key="new", Body=b"of a role"))
    assert await endpoint.body("new") == b"of a role"
    assert (await refused(endpoint, lambda: s3(endpoint, given | {"SessionToken": None}).list_buckets())) == (
        "InvalidAccessKeyId"
    )
    who = await endpoint.run(lambda: sts(endpoint, *list(given.values())[:3]).get_caller_identity())
    assert who["Arn"] == "arn:aws:sts::stratum:assumed-role/editor/work"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
async def test_urls_and_forms_are_signed_with_temporary_credentials_too(endpoint, version):
    import urllib.request

    given = await assumed(endpoint)
    client = s3(endpoint, given, version=version)
    url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
    assert await endpoint.run(lambda: urllib.request.urlopen(url).read()) == b"content"
    form = client.generate_presigned_post("bucket", "by-form")
    lines = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    ]
    lines.append('--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nposted\r\n--x--\r\n')
    request = urllib.request.Request(
        form["url"], "".join(lines).encode(), {"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert (await endpoint.run(lambda: urllib.request.urlopen(request).status)) == 204
    assert await endpoint.body("by-form") == b"posted"


async def test_a_session_of_a_user_is_that_user(endpoint):
    given = (await endpoint.run(lambda: sts(endpoint).get_session_token()))["Credentials"]
    client = s3(endpoint, given)
    await endpoint.run(lambda: client.create_bucket(Bucket="of-erin"))
    assert (await endpoint.engine.buckets.get("of-erin")).owner == "erin"
    assert await refused(endpoint, read(endpoint, given)) == "AccessDenied"
    who = await endpoint.run(lambda: sts(endpoint).get_caller_identity())
    assert (who["Account"], who["Arn"]) == ("erin", "arn:aws:iam::erin:root")


async def test_the_operator_has_sessions_too(endpoint):
    client = sts(endpoint, ROOT.access_key, ROOT.secret_key)
    given = (await endpoint.run(lambda: client.get_session_token(DurationSeconds=900)))["Credentials"]
    assert await endpoint.run(read(endpoint, given)) == b"content"


async def test_whom_a_provider_vouches_for_is_let_in(endpoint, issuer):
    asked = {"RoleArn": EDITOR, "RoleSessionName": "dana", "WebIdentityToken": issuer.token()}
    answer = await endpoint.run(lambda: sts(endpoint).assume_role_with_web_identity(**asked))
    assert answer["SubjectFromWebIdentityToken"] == "dana"
    assert answer["Audience"] == AUDIENCE
    assert await endpoint.run(read(endpoint, answer["Credentials"])) == b"content"
    again = await endpoint.run(lambda: sts(endpoint).assume_role_with_web_identity(**asked))
    assert again["Credentials"]["AccessKeyId"] != answer["Credentials"]["AccessKeyId"]
    assert issuer.asked["/realm/keys"] == 1, "keys are kept"


async def test_a_new_key_of_a_provider_is_found_but_not_asked_for_all_the_time(endpoint, issuer):
    async def ask():
        asked = {"RoleArn": EDITOR, "RoleSessionName": "dana", "WebIdentityToken": issuer.token()}
        return await endpoint.run(lambda: sts(endpoint).assume_role_with_web_identity(**asked))

    await ask()
    issuer.keys = [RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})]
    known = endpoint.engine.web_identities._known["home"]
    assert await refused_identity(endpoint, issuer.token()) == "InvalidIdentityToken"
    known.asked = known.got = float("-inf")  # half a minute later
    await ask()
    issuer.up = False
    known.asked = float("-inf")
    await ask()
    assert issuer.asked["/realm/keys"] == 2


# --- limits --------------------------------------------------------------------------------------------------------


async def test_a_session_policy_takes_away_and_never_gives(endpoint):
    given = await assumed(endpoint, Policy=READ)
    assert await endpoint.run(read(endpoint, given)) == b"content"
    client = s3(endpoint, given)
    assert await refused(endpoint, lambda: client.put_object(Bucket="bucket", Key="x", Body=b"")) == "AccessDenied"
    assert await refused(endpoint, lambda: client.create_bucket(Bucket="more")) == "AccessDenied"
    await endpoint.engine.roles.put("editor", policies={"list": policy(actions="s3:ListBucket")}, users=["erin"])
    assert await refused(endpoint, read(endpoint, given)) == "AccessDenied", "of the role as it is now"


async def test_a_session_policy_holds_whatever_a_bucket_policy_allows(endpoint):
    given = await assumed(endpoint, Policy=policy(actions="s3:ListBucket"))
    open_to_all = json.loads(policy(actions="s3:GetObject", resources="arn:aws:s3:::bucket/*"))
    open_to_all["Statement"][0]["Principal"] = "*"
    await endpoint.call("put_bucket_policy", Bucket="bucket", Policy=json.dumps(open_to_all))
    assert await refused(endpoint, read(endpoint, given)) == "AccessDenied"


@pytest.mark.parametrize(
    ("named", "allowed"),
    [
        ("arn:aws:iam::stratum:role/editor", True),
        ("arn:aws:sts::stratum:assumed-role/editor/work", True),
        ("arn:aws:sts::stratum:assumed-role/editor/other", False),
        ("arn:aws:iam::stratum:user/editor", False),
        ("arn:aws:iam::erin:role/editor", False),
    ],
)
async def test_policies_of_buckets_name_roles_and_sessions(endpoint, named, allowed):
    await endpoint.engine.roles.put("editor", policies={}, users=["erin"])
    given = await assumed(endpoint)
    document = json.loads(policy(actions="s3:GetObject", resources="arn:aws:s3:::bucket/*"))
    document["Statement"][0]["Principal"] = {"AWS": named}
    await endpoint.call("put_bucket_policy", Bucket="bucket", Policy=json.dumps(document))
    if allowed:
        assert await endpoint.run(read(endpoint, given)) == b"content"
    else:
        assert await refused(endpoint, read(endpoint, given)) == "AccessDenied"


async def test_a_session_begins_no_session(endpoint):
    given = (await endpoint.run(lambda: sts(endpoint).get_session_token()))["Credentials"]
    inside = sts(endpoint, *list(given.values())[:3])
    assert await refused(endpoint, inside.get_session_token) == "AccessDenied"
    assert await refused(endpoint, lambda: inside.assume_role(RoleArn=EDITOR, RoleSessionName="work")) == "AccessDenied"


async def test_only_whom_a_role_names_may_take_it_on_and_nobody_learns_which_roles_there_are(endpoint):
    frank = sts(endpoint, "FRANKKEY", "frank-secret-key")
    for role in ("editor", "never-made"):
        arn = f"arn:aws:iam::stratum:role/{role}"
        code = await refused(endpoint, lambda arn=arn: frank.assume_role(RoleArn=arn, RoleSessionName="work"))
        assert code == "AccessDenied"


async def test_times_are_held_to(endpoint):
    client = sts(endpoint)
    for seconds in (900 * 100,):
        asked = {"RoleArn": EDITOR, "RoleSessionName": "work", "DurationSeconds": seconds}
        assert await refused(endpoint, lambda asked=asked: client.assume_role(**asked)) == "ValidationError"
    asked = {"RoleArn": EDITOR, "RoleSessionName": "work", "DurationSeconds": 7200}
    assert await refused(endpoint, lambda: client.assume_role(**asked)) == "ValidationError", "an hour for this role"
    given = await assumed(endpoint, DurationSeconds=900)
    assert await endpoint.run(read(endpoint, given)) == b"content"
    endpoint.clock.ahead = 901 * 10**9
    assert await refused(endpoint, read(endpoint, given)) == "ExpiredToken"


# --- the end of a session --------------------------------------------------------------------------------------------


async def ended_by(endpoint, given, step):
    assert await endpoint.run(read(endpoint, given)) == b"content"
    await step
    return await refused(endpoint, read(endpoint, given))


async def test_a_session_ends_with_its_role(endpoint):
    given, engine = await assumed(endpoint), endpoint.engine
    assert await ended_by(endpoint, given, engine.roles.delete("editor")) == "InvalidAccessKeyId"
    await engine.roles.put("editor", policies={"all": policy()}, users=["erin"])
    assert await refused(endpoint, read(endpoint, given)) == "InvalidAccessKeyId", "another role of that name"


async def test_a_session_ends_with_the_key_that_began_it(endpoint):
    given = await assumed(endpoint)
    assert await ended_by(endpoint, given, endpoint.engine.credentials.delete("ERINKEY")) == "InvalidAccessKeyId"


async def test_a_session_ends_with_its_user(endpoint):
    given, engine = (await endpoint.run(lambda: sts(endpoint).get_session_token()))["Credentials"], endpoint.engine
    await engine.users.put_policy("erin", "read", READ)
    assert await ended_by(endpoint, given, engine.users.delete("erin")) == "InvalidAccessKeyId"
    await engine.users.create("Erin", user="erin")
    await engine.users.put_policy("erin", "read", READ)
    await engine.credentials.create("", user="erin", pair=KeyPair("ERINKEY", SECRET))
    assert await refused(endpoint, read(endpoint, given)) == "InvalidAccessKeyId"


async def test_every_session_is_ended_at_once(endpoint):
    given = await assumed(endpoint)
    assert await ended_by(endpoint, given, endpoint.engine.sessions.end_all()) == "InvalidToken"
    assert await endpoint.run(read(endpoint, await assumed(endpoint))) == b"content"


# --- tokens that are not ours ----------------------------------------------------------------------------------------


@pytest.fixture
async def world(tmp_path):
    settings = settings_for(tmp_path)
    async with open_engine(settings, root=ROOT, now_ns=Clock(), masters=MASTERS) as engine:
        await engine.roles.put("editor", policies={"all": policy()}, users=["*"])
        yield World(engine)


async def session_of(world) -> Credentials:
    principal = world.engine.credentials.principal_of(ROOT.access_key)
    begun = await world.engine.sessions.assume(principal, "editor", "work", None)
    return Credentials(begun.session.access_key, begun.session.secret_key, begun.token)


async def test_any_changed_bit_of_a_token_makes_it_nobodys(world):
    place, good = await world.place(), await session_of(world)
    way = next(way for way in WAYS if way.op.name == "GET_OBJECT")
    assert (await world.ask(by_header(unsigned(way, place), good)))[0] == 200
    raw = bytearray(base64.urlsafe_b64decode(good.token + "=="))
    for bit in range(0, len(raw) * 8, 5):
        raw[bit // 8] ^= 1 << bit % 8
        token = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        raw[bit // 8] ^= 1 << bit % 8
        forged = Credentials(good.access_key, good.secret_key, token)
        assert await world.ask(by_header(unsigned(way, place), forged)) == (400, "InvalidToken")
    for token in (good.token[:-1], good.token + "A", good.token + "=", " ", "x", "A" * 9000, good.token.swapcase()):
        forged = Credentials(good.access_key, good.secret_key, token)
        status, _ = await world.ask(by_header(unsigned(way, place), forged))
        assert status == 400


async def test_a_session_in_the_matrix_is_refused_wherever_anything_of_it_is_wrong(world):
    place, good, other = await world.place(), await session_of(world), await session_of(world)
    before = world.everything()
    wrong = {
        "no token": Credentials(good.access_key, good.secret_key),
        "the token of another": Credentials(good.access_key, good.secret_key, other.token),
        "the key of another": Credentials(other.access_key, other.secret_key, good.token),
        "another secret": Credentials(good.access_key, other.secret_key, good.token),
        "a token with a long-term key": Credentials(ROOT.access_key, ROOT.secret_key, good.token),
    }
    accepted = []
    for why, who in wrong.items():
        for way in WAYS:
            status, code = await world.ask(by_header(unsigned(way, place), who))
            if status not in (400, 403):
                accepted.append((why, str(way), status, code))
    for way in WAYS:  # a token that is not signed
        request = by_header(unsigned(way, place), OPERATOR_CREDENTIALS)
        headers = [*request.headers, (b"x-amz-security-token", good.token.encode())]
        status, code = await world.ask(replace(request, headers=headers))
        if status not in (400, 403):
            accepted.append(("unsigned", str(way), status, code))
    assert accepted == []
    assert world.everything() == before


OPERATOR_CREDENTIALS = Credentials(ROOT.access_key, ROOT.secret_key)


def asked(fields, who=OPERATOR_CREDENTIALS, service="sts", sign=SigV4Auth, body=None) -> Request:
    content = urlencode({"Version": "2011-06-15", **fields})
    made = AWSRequest(
        method="POST",
        url="http://localhost/",
        data=content,
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
    )
    if who is not None:
        sign(who, service, REGION).add_auth(made)
    headers = {"Host": "localhost", **dict(made.headers.items())}
    raw = (content if body is None else body).encode()
    return Request(
        method="POST",
        raw_path=b"/",
        headers=[(name.lower().encode(), value.encode()) for name, value in headers.items()],
        body=Body(raw),
        request_id="1",
    )


FIELDS = {
    "GetCallerIdentity": {},
    "GetSessionToken": {},
    "AssumeRole": {"RoleArn": EDITOR, "RoleSessionName": "work"},
    "AssumeRoleWithWebIdentity": {"RoleArn": EDITOR, "RoleSessionName": "work", "WebIdentityToken": "x.y.z"},
}


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_action_is_for_who_signed_it_for_this_service(world, action):
    fields = {"Action": action, **FIELDS[action]}
    good = await world.ask(asked(fields))
    assert good == ((200, "") if "WebIdentity" not in action else (400, "InvalidIdentityToken"))
    wrong = {
        "nobody": asked(fields, None),
        "another secret": asked(fields, Credentials(ROOT.access_key, "wrong")),
        "an unknown key": asked(fields, Credentials("NOBODY", "wrong")),
        "for s3": asked(fields, service="s3"),
        "for s3, as s3 signs": asked(fields, service="s3", sign=S3SigV4Auth),
        "another body": asked(fields, body=urlencode({**fields, "Version": "2011-06-15", "DurationSeconds": "3600"})),
        "with a query": replace(asked(fields), raw_query=b"Action=GetCallerIdentity"),
    }
    for why, request in wrong.items():
        status, code = await world.ask(request)
        assert status in (400, 403), why
        assert code in (
            "MissingAuthenticationToken",
            "SignatureDoesNotMatch",
            "InvalidClientTokenId",
            "IncompleteSignature",
            "MalformedQueryString",
            "InvalidIdentityToken",
        ), why


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "MissingAction"),
        ({"Action": "GetFederationToken"}, "InvalidAction"),
        ({"Action": "GetCallerIdentity", "Version": "2010-01-01"}, "InvalidAction"),
        ({"Action": "AssumeRole", **FIELDS["AssumeRole"], "SerialNumber": "1"}, "ValidationError"),
        ({"Action": "AssumeRole", **FIELDS["AssumeRole"], "PolicyArns.member.1.arn": "x"}, "ValidationError"),
        ({"Action": "AssumeRole", **FIELDS["AssumeRole"], "RoleSessionName": "a b"}, "ValidationError"),
        ({"Action": "AssumeRole", **FIELDS["AssumeRole"], "RoleArn": "editor"}, "ValidationError"),
        ({"Action": "AssumeRole", **FIELDS["AssumeRole"], "Policy": "{}"}, "MalformedPolicyDocument"),
        ({"Action": "AssumeRole", **FIELDS["AssumeRole"], "Policy": READ + " " * 2048}, "ValidationError"),
        ({"Action": "AssumeRole", "RoleArn": EDITOR}, "ValidationError"),
        ({f"a{n}": "" for n in range(100)}, "MalformedQueryString"),
        ({"Action": "x" * 70_000}, "RequestEntityTooLarge"),
    ],
)
async def test_what_is_asked_wrongly_is_refused_with_the_code_of_aws(world, fields, code):
    status, found = await world.ask(asked(fields))
    assert (status >= 400, found) == (True, code)


async def test_no_secret_is_in_any_log_or_repr(world, caplog):
    caplog.set_level(0)
    begun = await world.engine.sessions.assume(
        world.engine.credentials.principal_of(ROOT.access_key), "editor", "work", None
    )
    await world.ask(asked({"Action": "AssumeRole", **FIELDS["AssumeRole"]}))
    shown = caplog.text + repr(begun) + repr(begun.session)
    assert begun.session.secret_key not in shown and begun.token not in shown


# --- tokens of providers ---------------------------------------------------------------------------------------------


async def refused_identity(endpoint, token, **more) -> str:
    fields = {"RoleArn": EDITOR, "RoleSessionName": "dana", "WebIdentityToken": token, **more}
    return await refused(endpoint, lambda: sts(endpoint).assume_role_with_web_identity(**fields))


def part(value) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


async def test_tokens_that_are_forged_or_not_for_us_let_nobody_in(endpoint, issuer):
    good, now = issuer.token(), int(issuer.now())
    head, body, signature = good.split(".")
    own = RSAKey.generate_key(2048, {"kid": "one"})
    public = issuer.keys[0].as_pem(private=False)
    forged = {
        "alg none": f"{part({'alg': 'none'})}.{body}.",
        "alg none with a signature": f"{part({'alg': 'none', 'kid': 'one'})}.{body}.{signature}",
        "the public key as a secret": hmac_token(public, issuer.claims()),
        "the published modulus as a secret": hmac_token(issuer.keys[0].as_dict()["n"].encode(), issuer.claims()),
        "signed by somebody else": issuer.token(key=own),
        "with a key of its own": issuer.token(key=own, header={"jwk": own.as_dict(private=False)}),
        "with a place of keys of its own": issuer.token(key=own, header={"jku": "http://127.0.0.1:1/keys"}),
        "with a path as kid": issuer.token(key=own, header={"kid": "../../../../dev/null"}),
        "with a query as kid": issuer.token(key=own, header={"kid": "one' UNION SELECT 'x"}),
        "another body": f"{head}.{part(issuer.claims(groups=['admins', 'editors']))}.{signature}",
        "no signature": f"{head}.{body}.",
        "expired": issuer.token(exp=now - 61),
        "no end": issuer.token(exp=None),
        "an end that is no number": issuer.token(exp="tomorrow"),
        "not yet": issuer.token(nbf=now + 120),
        "issued tomorrow": issuer.token(iat=now + 86_400),
        "for somebody else": issuer.token(aud="another-service"),
        "for nobody": issuer.token(aud=None),
        "for an object": issuer.token(aud={"stratum": True}),
        "another issuer": issuer.token(iss="https://elsewhere.example.org"),
        "almost the issuer": issuer.token(iss=issuer.url + "/"),
        "no issuer": issuer.token(iss=None),
        "no subject": issuer.token(sub=None),
        "a subject that is none": issuer.token(sub="a\nb"),
        "a critical extension": f"{part({'alg': 'RS256', 'kid': 'one', 'crit': ['x'], 'x': 1})}.{body}.{signature}",
        "huge": issuer.token(more="x" * 14_000),
        "nested": f"{head}.{part(b'[' * 9000)}.{signature}",
        "not one": "not a token",
        "three dots": "....",
        "two dots": "a..b",
    }
    codes = {why: await refused_identity(endpoint, token) for why, token in forged.items()}
    assert codes.pop("expired") == "ExpiredTokenException"
    assert set(codes.values()) == {"InvalidIdentityToken"}, codes
    assert issuer.asked["/realm/keys"] == 1, "whoever sends tokens does not make us ask"


def hmac_token(secret: bytes, claims) -> str:
    import hashlib
    import hmac

    text = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(claims)}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), hashlib.sha256))}"


async def test_symmetric_keys_of_a_provider_are_no_keys(endpoint, issuer):
    shared = OctKey.import_key(b"a secret that somebody published by mistake")
    issuer.documents_before = issuer.documents
    published = {**shared.as_dict(private=True), "kid": "one", "use": "sig"}
    documents = issuer.documents()
    documents["/realm/keys"]["keys"].insert(0, published)
    issuer.documents = lambda: documents
    token = hmac_token(b"a secret that somebody published by mistake", issuer.claims())
    assert await refused_identity(endpoint, token) == "InvalidIdentityToken"
    asked = {"RoleArn": EDITOR, "RoleSessionName": "dana", "WebIdentityToken": issuer.token()}
    await endpoint.run(lambda: sts(endpoint).assume_role_with_web_identity(**asked))


async def test_claims_decide_who_is_let_into_a_role(endpoint, issuer):
    assert await refused_identity(endpoint, issuer.token(groups=["readers"])) == "AccessDenied"
    assert await refused_identity(endpoint, issuer.token(groups=None)) == "AccessDenied"
    assert await refused_identity(endpoint, issuer.token(groups="editors-not")) == "AccessDenied"
    await endpoint.engine.roles.put("nobodys", policies={"all": policy()}, users=["erin"])
    arn = "arn:aws:iam::stratum:role/nobodys"
    assert await refused_identity(endpoint, issuer.token(), RoleArn=arn) == "AccessDenied"
    await endpoint.engine.roles.put(
        "deep", policies={"all": policy()}, provider="home", claims={"realm.roles": "a", "sub": "dana"}
    )
    arn = "arn:aws:iam::stratum:role/deep"
    assert await refused_identity(endpoint, issuer.token(), RoleArn=arn) == "AccessDenied"
    fields = {"RoleArn": arn, "RoleSessionName": "dana", "WebIdentityToken": issuer.token(realm={"roles": ["b", "a"]})}
    await endpoint.run(lambda: sts(endpoint).assume_role_with_web_identity(**fields))


async def test_a_provider_that_is_away_lets_nobody_in_that_it_has_not_before(endpoint, issuer):
    issuer.up = False
    assert await refused_identity(endpoint, issuer.token()) == "IDPCommunicationError"
