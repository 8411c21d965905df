"""A small run of the campaign of wishes on the real mount: by each door an order acts, and explain names it."""

import os
import time

import pytest
from tierdays_store import BUCKET, Living
from tierdays_wishes import DOORS, words

from tests.engine.s3_servers import ACCESS, SECRET, Servers


@pytest.fixture
def store(tmp_path):
    servers = Servers()
    try:
        living = Living(tmp_path, servers.url("rclone"), (ACCESS, SECRET), day_seconds=1.0)
        try:
            yield living
        finally:
            living.served.close()
    finally:
        servers.close()


@pytest.mark.fuse
@pytest.mark.system
@pytest.mark.slow
def test_a_pin_by_metadata_tag_or_attribute_moves_an_object_to_another_server_and_explain_says_why(store):
    keys = [f"pin/{door}" for door in DOORS]
    pin = "pin=cold"
    for key in keys:
        told = {"stratum-hint": pin} if key.endswith("metadata") else {}
        store.client.put_object(Bucket=BUCKET, Key=key, Body=store.body_of(key), Metadata=told)
    tags = {"TagSet": [{"Key": "stratum-hint", "Value": pin}]}
    store.client.put_object_tagging(Bucket=BUCKET, Key="pin/tag", Tagging=tags)
    os.setxattr(store.path("pin/attribute"), "user.stratum.hint", pin.encode())
    until = time.monotonic() + 60
    while any(store.tier(key) != "cold" for key in keys):
        assert time.monotonic() < until, [store.tier(key) for key in keys]
        time.sleep(0.05)  # another process moves it
    for key in keys:
        part = store.part(key)
        assert [turn["reason"] for turn in part["history"] if turn["done"]] == ["PIN"]
        assert part["state"] == "pinned" and "pinned to cold" in part["evidence"]["wishes"]
        assert store.get(key)


def test_every_word_of_a_hint_is_among_the_wishes_of_the_campaign():
    said = " ".join(word.said for word in words(lambda day: f"2026-12-0{day}"))
    for word in ("hot", "cold", "expire=", "schedule=", "pin=hot", "pin=warm", "pin=cold", "no-cold", "max-latency="):
        assert word in said
