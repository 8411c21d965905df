import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stratum.engine.credentials import RootCredential
from stratum.serve.admin_client import AdminClient, Refused, Unreachable, sign

ROOT = RootCredential("STRROOT", "canary-secret-key")
NOW = 1_790_000_000


@pytest.mark.parametrize("method, path, body", [("GET", "/-/admin/status", b""), ("POST", "/-/admin/keys", b'{"a":1}')])
def test_signatures_are_those_of_botocore(monkeypatch, method, path, body):
    mine = sign(method, "127.0.0.1:9000", path, body, ROOT, region="eu", now=NOW)
    request = AWSRequest(method, f"http://127.0.0.1:9000{path}", data=body)
    request.context["payload_signing_enabled"] = True
    request.headers["X-Amz-Content-SHA256"] = mine["x-amz-content-sha256"]
    monkeypatch.setattr(
        "botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)
    )
    S3SigV4Auth(Credentials(ROOT.access_key, ROOT.secret_key), "s3", "eu").add_auth(request)
    assert mine["authorization"] == request.headers["Authorization"]


@contextmanager
def server(status: int, answer: bytes):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length", 0))
            seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield AdminClient(f"127.0.0.1:{http.server_port}", ROOT, "us-east-1"), seen
        finally:
            http.shutdown()
            thread.join()


def test_a_question_is_signed_json_and_so_is_the_answer():
    with server(201, b'{"access_key": "x"}') as (client, seen):
        assert client.ask("POST", "keys", {"name": "n"}) == {"access_key": "x"}
    [(method, path, headers, body)] = seen
    assert (method, path, json.loads(body)) == ("POST", "/-/admin/keys", {"name": "n"})
    assert ROOT.secret_key not in str(headers)


def test_a_refusal_is_the_servers_words():
    with (
        server(409, b'{"error": "BucketNotEmpty", "message": "photos"}') as (client, _),
        pytest.raises(Refused, match="BucketNotEmpty: photos"),
    ):
        client.ask("DELETE", "buckets/photos")


def test_something_else_on_that_port_is_not_taken_for_a_stratum():
    with server(200, b"<html>") as (client, _), pytest.raises(Refused, match="not as a Stratum server"):
        client.ask("GET", "status")


def test_nobody_at_home_is_said_so():
    with server(200, b"{}") as (client, _):
        pass
    with pytest.raises(Unreachable, match="no answer from 127"):
        client.ask("GET", "status")
