"""Clients of Amazon's SDK for tests, all of one session.

Room: tests. May import: boto3 only.

A session reads and compiles the SDK's description of S3 anew, 60 to 140 ms; a client of a session that has done so is
there in 3 ms. The session itself knows no key, region or address: every client is told its own.
"""

import threading
from functools import cache

import boto3

_one_at_a_time = threading.Lock()  # making clients of one session is not safe among threads; using them is


@cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


def sdk_client(service: str, **told):
    """A client that shares nothing with another but the descriptions. Arguments as of boto3's `Session.client`."""
    with _one_at_a_time:
        return _session().client(service, **told)
