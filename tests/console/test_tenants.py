"""Tenants administer their own users and nothing else; see test_pages for the pages."""

import json

import pytest

from tests.console.test_pages import GUARDED, console

__all__ = ["console"]

FOR_TENANTS = {"/-/admin/users", "/-/admin/users/delete", "/-/admin/keys", "/-/admin/keys/x", "/-/admin/tenant"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})


async def ask(console, key, method, path, **body):
    status, raw, _ = await console.ask(method, f"/-/admin/{path}", key=key, body=json.dumps(body) if body else None)
    return status, json.loads(raw)


@pytest.fixture
async def roots(console):
    """The keys of the roots of two tenants."""
    made = {}
    for name in ("acme", "zoo"):
        status, answer = await ask(console, "STRROOT", "POST", "tenants", name=name, tenant=name)
        assert status == 201
        made[name] = answer["access_key"]
    return made


async def test_a_tenants_root_makes_users_keys_and_policies_in_its_account(console, roots):
    status, made = await ask(console, roots["acme"], "POST", "users", name="ann")
    assert status == 201
    ann = made["user"]
    assert console.engine.users.find(ann).account == "acme"
    assert (await ask(console, roots["acme"], "POST", "users/policies/put", user=ann, policy="p", text=POLICY))[
        0
    ] == 200
    status, key = await ask(console, roots["acme"], "POST", "keys", user=ann)
    assert status == 201
    assert {row["user"] for row in (await ask(console, roots["acme"], "GET", "users"))[1]} == {"acme", ann}
    assert {row["user"] for row in (await ask(console, roots["acme"], "GET", "keys"))[1]} == {"acme", ann}
    assert (await ask(console, roots["acme"], "GET", "tenant"))[1]["users"] == 2
    assert (await ask(console, roots["acme"], "DELETE", f"keys/{key['access_key']}"))[0] == 200
    assert (await ask(console, roots["acme"], "POST", "users/delete", user=ann))[0] == 200


async def test_what_is_not_its_own_is_denied_to_a_tenant(console, roots):
    await console.engine.users.create("bea", user="bea", account="zoo")
    await console.engine.users.create("cleo", user="cleo")
    key = await console.engine.credentials.create("", user="bea")
    before = console.engine.users.list(), console.engine.credentials.list()
    acme = roots["acme"]
    for path, body in [
        ("users", {"name": "x", "account": "zoo"}),
        ("users", {"name": "x", "account": "stratum"}),
        ("keys", {"user": "bea"}),
        ("keys", {"user": ""}),
        ("keys", {"user": "stratum"}),
        *[
            (path, {"user": user, **more})
            for user in ("bea", "cleo", "zoo", "stratum", "nobody", "")
            for path, more in [
                ("users/delete", {}),
                ("users/policies", {}),
                ("users/policies/put", {"policy": "p", "text": POLICY}),
                ("users/policies/delete", {"policy": "p"}),
            ]
        ],
        ("users/delete", {"user": "acme"}),
        ("users/policies/put", {"user": "acme", "policy": "p", "text": POLICY}),
    ]:
        status, answer = await ask(console, acme, "POST", path, **body)
        assert (status, answer["error"]) == (403, "Denied"), (path, body)
    assert (await ask(console, acme, "DELETE", f"keys/{key.access_key}"))[0] == 403
    assert (await ask(console, acme, "DELETE", f"keys/{roots['zoo']}"))[0] == 403
    assert (console.engine.users.list(), console.engine.credentials.list()) == before


async def test_every_other_page_is_closed_to_a_tenant_and_all_of_them_to_its_users(console, roots):
    await console.engine.users.create("ann", user="ann", account="acme")
    user = (await console.engine.credentials.create("", user="ann")).access_key
    await console.engine.users.create("cleo", user="cleo")  # the root of an account that is no tenant
    single = (await console.engine.credentials.create("", user="cleo")).access_key
    for method, path in GUARDED:
        open_to_root = path in FOR_TENANTS or path.startswith("/-/admin/users/")
        for key in (user, single, *(() if open_to_root else (roots["acme"],))):
            status, raw, _ = await console.ask(method, path, key=key, body=b"{}")
            assert (status, json.loads(raw)["error"]) == (403, "Denied"), (method, path)


async def test_a_tenant_is_removed_with_its_users_once_it_owns_nothing(console, roots):
    await console.engine.users.create("ann", user="ann", account="acme")
    await console.engine.buckets.create("bucket", "acme")
    assert (await ask(console, "STRROOT", "POST", "tenants/remove", tenant="acme"))[0] == 409
    await console.engine.buckets.delete("bucket")
    await console.engine.quotas.set(user="acme", bytes_max=5)
    rows = (await ask(console, "STRROOT", "GET", "tenants"))[1]
    assert [(row["tenant"], row["users"], row["bytes_max"]) for row in rows] == [("acme", 2, 5), ("zoo", 1, None)]
    assert (await ask(console, "STRROOT", "POST", "tenants/remove", tenant="acme"))[0] == 200
    assert (await ask(console, "STRROOT", "POST", "tenants/remove", tenant="acme"))[0] == 404
    assert [user for user, _ in console.engine.users.list()] == ["zoo"]
    assert (await ask(console, roots["acme"], "GET", "tenant"))[0] == 403
    assert console.engine.quotas.owner("acme").bytes_max is None


async def test_a_tenant_has_a_bounded_number_of_users(console, roots, monkeypatch):
    monkeypatch.setattr(type(console.engine.tenants), "users", lambda self, tenant: ["x"] * 1000)
    assert (await ask(console, roots["acme"], "POST", "users", name="one-more"))[0] == 400
