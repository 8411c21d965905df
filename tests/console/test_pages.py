"""The pages below /-/ on a real engine. Who signed is a header here; for real signatures see tests/serve."""

import json
import time
from types import SimpleNamespace

import pytest
from quart_trio import QuartTrio

from stratum.console.access import BODY_BYTES, Denied
from stratum.console.app import STATUSES, add_console, status_of
from stratum.console.metrics import RequestCounts
from stratum.core.config import Settings
from stratum.core.errors import BucketNotEmpty, CorruptRecord, NoSuchKey, StratumError
from stratum.engine.credentials import RootCredential
from stratum.engine.engine import open_engine
from stratum.engine.keys import MasterKeys

ROOT = RootCredential("STRROOT", "canary-root-secret-key")
MASTERS = MasterKeys((bytes(range(32)),))
TOKEN = "canary-metrics-token"
GUARDED = [
    ("GET", "/-/metrics"),
    ("GET", "/-/admin/status"),
    ("GET", "/-/admin/config"),
    ("POST", "/-/admin/console"),
    ("GET", "/-/admin/keys"),
    ("POST", "/-/admin/keys"),
    ("DELETE", "/-/admin/keys/x"),
    ("GET", "/-/admin/buckets"),
    ("POST", "/-/admin/buckets"),
    ("DELETE", "/-/admin/buckets/x"),
    ("GET", "/-/admin/kms"),
    ("POST", "/-/admin/kms"),
    ("POST", "/-/admin/kms/rotate"),
    ("GET", "/-/admin/tiers"),
    ("GET", "/-/admin/tiers/check/x"),
    ("POST", "/-/admin/tiers/object"),
    ("POST", "/-/admin/tiers/move"),
    ("POST", "/-/admin/tiers/explain"),
    ("GET", "/-/admin/tiers/report"),
    ("GET", "/-/admin/tiers/deciding"),
    ("POST", "/-/admin/tiers/export"),
    ("GET", "/-/admin/tiers/policy/x"),
    ("PUT", "/-/admin/tiers/policy/x"),
    ("DELETE", "/-/admin/tiers/policy/x"),
    ("GET", "/-/explain/x/x"),
    ("GET", "/-/admin/users"),
    ("POST", "/-/admin/users"),
    ("POST", "/-/admin/users/delete"),
    ("POST", "/-/admin/users/policies"),
    ("POST", "/-/admin/users/policies/put"),
    ("POST", "/-/admin/users/policies/delete"),
    ("GET", "/-/admin/quotas"),
    ("POST", "/-/admin/quotas"),
    ("POST", "/-/admin/quotas/count"),
    ("GET", "/-/admin/replication"),
    ("POST", "/-/admin/replication/resync"),
    ("POST", "/-/admin/replication/stop"),
    ("GET", "/-/admin/tenants"),
    ("POST", "/-/admin/tenants"),
    ("POST", "/-/admin/tenants/remove"),
    ("GET", "/-/admin/tenant"),
    ("GET", "/-/admin/disks"),
    ("POST", "/-/admin/disks"),
    ("POST", "/-/admin/disks/drain"),
    ("POST", "/-/admin/disks/remove"),
    ("GET", "/-/admin/roles"),
    ("POST", "/-/admin/roles"),
    ("POST", "/-/admin/roles/delete"),
    ("POST", "/-/admin/sessions/end"),
]


async def authorise(asked):
    """Whoever says so in a header. The real one is the S3 room's."""
    names = [value.decode() for name, value in asked.headers if name == b"x-signed-by"]
    if not names:
        raise Denied("AccessDenied")
    return names[0]


@pytest.fixture
async def console(tmp_path):
    settings = Settings(data=tmp_path, disks=tuple(tmp_path / f"disks/{slot}" for slot in range(6)))
    async with open_engine(settings, root=ROOT, now_ns=time.time_ns, masters=MASTERS) as engine:
        app, counts = QuartTrio("stratum", static_folder=None), RequestCounts()
        add_console(
            app,
            engine,
            authorise=authorise,
            settings={"s3.region": "eu"},
            about=lambda: {"version": "1", "pid": 1},
            token=TOKEN,
            counts=counts,
        )

        async def ask(method, path, *, key="STRROOT", body=None, headers=()):
            signed = {"X-Signed-By": key} if key else {}
            found = await app.test_client().open(path, method=method, headers={**signed, **dict(headers)}, data=body)
            return found.status_code, await found.get_data(), found.headers

        yield SimpleNamespace(app=app, engine=engine, counts=counts, ask=ask)


async def test_health_asks_for_nothing_and_tells_nothing(console):
    assert (await console.ask("GET", "/-/health", key=None))[:2] == (200, b"ok\n")


async def test_health_says_when_the_store_takes_no_writes(console, monkeypatch):
    monkeypatch.setattr(type(console.engine.meta), "failed", "a commit failed")
    assert (await console.ask("GET", "/-/health", key=None))[:2] == (503, b"read-only\n")


async def test_every_other_page_is_guarded_and_this_table_knows_them_all(console):
    rules = {(method, str(rule)) for rule in console.app.url_map.iter_rules() for method in rule.methods}
    real = {(method, path) for method, path in rules if method not in ("HEAD", "OPTIONS")}
    known = {(method, path.replace("/x", "")) for method, path in GUARDED}
    assert {(method, path.partition("/<")[0]) for method, path in real} - known == {("GET", "/-/health")}


@pytest.mark.parametrize("method, path", GUARDED)
async def test_nobody_and_other_keys_are_refused_everywhere(console, method, path):
    for key in (None, "OTHER"):
        code, body, _ = await console.ask(method, path, key=key, body=b'{"name": "abc"}')
        assert code == 403 and json.loads(body)["error"] == "Denied"
    assert await console.engine.buckets.list() == [] == console.engine.credentials.list()
    assert console.engine.users.list() == []


async def test_keys_are_made_listed_without_secrets_and_deleted(console):
    code, made, headers = await console.ask("POST", "/-/admin/keys", body=b'{"name": "laptop"}')
    made = json.loads(made)
    assert code == 201 and headers["Cache-Control"] == "no-store"
    assert console.engine.credentials.secret_of(made["access_key"]) == made["secret_key"]
    code, listed, _ = await console.ask("GET", "/-/admin/keys")
    assert [row["name"] for row in json.loads(listed)] == ["laptop"]
    assert made["secret_key"].encode() not in listed
    path = f"/-/admin/keys/{made['access_key']}"
    assert [(await console.ask("DELETE", path))[0] for _ in range(2)] == [200, 404]


async def test_users_of_another_store_keep_their_ids_and_keys(console):
    async def post(path, **body):
        code, answered, _ = await console.ask("POST", f"/-/admin/{path}", body=json.dumps(body).encode())
        return code, json.loads(answered)

    assert await post("users", name="alice", user="a" * 64, email="alice@example.org") == (
        201,
        {"user": "a" * 64, "name": "alice"},
    )
    assert (await post("users", name="alice", user="a" * 64))[0] == 409
    pair = {"access_key": "OLDKEY", "secret_key": "old secret".replace(" ", "-")}
    assert await post("keys", user="a" * 64, **pair) == (201, pair)
    assert (await post("keys", user="a" * 64, access_key="HALF"))[0] == 400
    assert (await post("keys", user="nobody"))[0] == 404
    assert console.engine.credentials.principal_of("OLDKEY").user == "a" * 64
    policy = json.dumps({"Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]})
    assert (await post("users/policies/put", user="a" * 64, policy="none", text=policy))[0] == 200
    assert (await post("users/policies/put", user="a" * 64, policy="bad", text="{"))[0] == 400
    assert await post("users/policies", user="a" * 64) == (200, {"none": policy})
    [row] = json.loads((await console.ask("GET", "/-/admin/users"))[1])
    assert (row["name"], row["email"], row["policies"]) == ("alice", "alice@example.org", ["none"])
    assert (await post("users/policies/delete", user="a" * 64, policy="none"))[0] == 200
    assert [(await post("users/delete", user="a" * 64))[0] for _ in range(2)] == [200, 404]
    assert console.engine.credentials.list() == []


async def test_named_keys_are_made_listed_and_rotated_and_never_shown(console):
    assert (await console.ask("POST", "/-/admin/kms", body=b'{"name": "invoices"}'))[0] == 201
    code, body, _ = await console.ask("POST", "/-/admin/kms", body=b'{"name": "invoices"}')
    assert code == 409 and json.loads(body)["error"] == "EntryExists"
    code, body, _ = await console.ask("POST", "/-/admin/kms/rotate", body=b'{"name": "invoices"}')
    assert (code, json.loads(body)) == (200, {"name": "invoices", "generations": 2})
    [row] = json.loads((await console.ask("GET", "/-/admin/kms"))[1])
    assert set(row) == {"name", "created", "generations"}
    assert (await console.ask("POST", "/-/admin/kms/rotate", body=b'{"name": "other"}'))[0] == 400
    for name in ("", "stratum/s3", "alias/x", "a b", "x" * 129):
        assert (await console.ask("POST", "/-/admin/kms", body=json.dumps({"name": name}).encode()))[0] == 400


async def test_buckets_are_made_listed_and_deleted(console):
    assert (await console.ask("POST", "/-/admin/buckets", body=b'{"name": "photos"}'))[0] == 201
    code, body, _ = await console.ask("POST", "/-/admin/buckets", body=b'{"name": "photos"}')
    assert code == 409 and json.loads(body)["error"] == "BucketExists"
    [row] = json.loads((await console.ask("GET", "/-/admin/buckets"))[1])
    assert (row["name"], row["owner"]) == ("photos", "stratum")
    codes = [(await console.ask("DELETE", "/-/admin/buckets/photos"))[0] for _ in range(2)]
    assert codes == [200, 404]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name": 1}', b'{"name": "abc", "x": 1}', b'{"name": "A B"}'])
async def test_a_bad_body_is_a_bad_request_and_changes_nothing(console, body):
    assert (await console.ask("POST", "/-/admin/buckets", body=body))[0] == 400
    assert await console.engine.buckets.list() == []


async def test_a_large_body_is_not_taken_in(console):
    assert (await console.ask("POST", "/-/admin/keys", body=b"x" * (BODY_BYTES + 1)))[0] == 413


async def test_status_is_the_engine_and_the_process_and_settings_are_shown(console):
    found = json.loads((await console.ask("GET", "/-/admin/status"))[1])
    assert found["state"] == "healthy" and found["pid"] == 1 and len(found["disks"]) == 6
    assert json.loads((await console.ask("GET", "/-/admin/config"))[1]) == {"s3.region": "eu"}


async def test_metrics_open_to_their_token_too(console):
    console.counts.add("GET", 200, 0.25)
    console.counts.add("BREW", 405, 0.25)
    for headers, key in (({"Authorization": f"Bearer {TOKEN}"}, None), ({}, "STRROOT")):
        code, text, _ = await console.ask("GET", "/-/metrics", key=key, headers=headers)
        assert code == 200
        assert b'stratum_s3_requests_total{method="GET",status="200"} 1.0' in text
        assert b'stratum_s3_requests_total{method="other",status="405"} 1.0' in text
        assert text.count(b"stratum_disk_in_service{") == 6
    for wrong in ("Bearer ", "Bearer x", TOKEN, "Bearer " + TOKEN[:-1], "Bearer \u00e9"):
        assert (await console.ask("GET", "/-/metrics", key=None, headers={"Authorization": wrong}))[0] == 403


async def test_no_page_shows_the_root_secret(console):
    for method, path in [*GUARDED, ("GET", "/-/health"), ("GET", "/-/nothing")]:
        _, body, headers = await console.ask(method, path, body=b'{"name": "abc"}')
        for secret in (ROOT.secret_key, TOKEN):
            assert secret.encode() not in body and secret not in str(headers)


async def test_unknown_pages_and_methods_are_json_errors(console):
    assert (await console.ask("GET", "/-/nothing"))[0] == 404
    assert (await console.ask("PUT", "/-/health"))[0] == 405


async def test_a_bug_in_a_page_is_an_answer_without_details(console, monkeypatch):
    monkeypatch.setattr(console.engine, "credentials", SimpleNamespace(is_root=lambda _: 1 / 0))
    code, body, _ = await console.ask("GET", "/-/admin/keys")
    assert code == 500 and b"division" not in body


def test_every_error_has_a_status():
    assert status_of(NoSuchKey()) == 404 and status_of(BucketNotEmpty()) == 409
    assert status_of(CorruptRecord()) == STATUSES[StratumError] == 500
