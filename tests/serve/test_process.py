"""The real process, without a mount: start, answers, second process, secrets, end."""

import http.client
import json
import os
import re
import signal
import socket
import time

import pytest
from click.testing import CliRunner

from stratum.engine.credentials import RootCredential
from stratum.serve.admin_client import sign
from stratum.serve.cli import main
from tests.serve.running import Running, stratum

pytestmark = pytest.mark.system

ACCESS, SECRET = "canaryroot", "CanaryRootSecretCanaryRootSecret"
CANARY = {"STRATUM_ROOT_ACCESS_KEY": ACCESS, "STRATUM_ROOT_SECRET_KEY": SECRET}


@pytest.fixture
def serve(tmp_path):
    def start(*arguments, **more):
        return Running(tmp_path, "serve", "--data", str(tmp_path / "data"), "--s3", "127.0.0.1:0", *arguments, **more)

    return start


@pytest.fixture
def ask(tmp_path):
    """Run a command of `stratum` against the store of the test, in this process."""

    def run(*arguments, **more):
        clean = {name: None for name in os.environ if name.startswith("STRATUM_")}
        runner = CliRunner(env={**clean, **more})
        return runner.invoke(main, [*arguments, "--data", str(tmp_path / "data")])

    return run


def get(address, path, headers=None):
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), body


def test_a_first_start_prints_what_one_needs_and_a_second_keeps_it_to_itself(serve, ask, tmp_path):
    with serve("--guide") as server:
        address = server.ready()
        exports = dict(re.findall(r"^export (\w+)=(\S+)$", server.text, re.M))
        assert exports["AWS_ENDPOINT_URL"] == f"http://{address}"
        assert get(address, "/-/health")[::2] == (200, b"ok\n")
        assert "share one device" in server.text or "on one device" in server.text
        shown = json.loads(ask("status", "--json").stdout)
        assert (shown["state"], shown["s3"], shown["code"]) == ("healthy", f"http://{address}", "4+2")
        assert "healthy" in ask("status").stdout
        began = time.monotonic()
        assert server.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 10
        assert server.text.count(exports["AWS_SECRET_ACCESS_KEY"]) == 1
    with serve("--guide") as server:
        server.ready()
        assert exports["AWS_SECRET_ACCESS_KEY"] not in server.text
        assert f"AWS_SHARED_CREDENTIALS_FILE={tmp_path}/data/credentials" in server.text
        assert server.end(signal.SIGINT) == 0


def test_a_second_process_on_the_store_is_refused_and_the_first_goes_on(serve):
    with serve() as first:
        address = first.ready()
        with serve() as second:
            assert second.end() == 1
            assert f"error: process {first.process.pid} has the store" in second.text
        assert get(address, "/-/health")[0] == 200


def test_keys_and_buckets_are_managed_from_outside(serve, ask):
    with serve() as server:
        server.ready()
        made = json.loads(ask("key", "create", "laptop", "--json").stdout)
        assert ask("bucket", "create", "photos").stdout == "created photos\n"
        assert ask("bucket", "create", "photos").stderr == "error: BucketExists: photos\n"
        assert "laptop" in ask("key", "list").stdout and "photos" in ask("bucket", "list").stdout
        assert ask("key", "delete", made["access_key"]).exit_code == 0
        assert ask("key", "delete", made["access_key"]).stderr.startswith("error: NoSuchCredential")
        assert ask("bucket", "delete", "photos").exit_code == 0
        assert json.loads(ask("bucket", "list", "--json").stdout) == []
        running = json.loads(ask("config", "show", "--running", "--json").stdout)
        assert running["s3.address"] == "127.0.0.1:0"


def test_no_secret_is_ever_printed_logged_or_answered(serve, ask):
    with serve("--log-level", "debug", "--guide", **CANARY) as server:
        address = server.ready()
        made = json.loads(ask("key", "create", "x", "--json", **CANARY).stdout)
        token = ask("key", "metrics", **CANARY).stdout.strip()
        said = [
            ask(*words, **CANARY) for words in (["status", "--json"], ["key", "list"], ["config", "show", "--running"])
        ]
        stamp = "20200101T000000Z"
        scope = f"{made['access_key']}/20200101/us-east-1/s3/aws4_request"
        grant = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={SECRET}"
        answers = [
            get(address, "/-/metrics", {"Authorization": f"Bearer {token}"}),
            get(address, "/-/admin/keys", {"Authorization": grant, "x-amz-date": stamp}),
            get(address, "/photos/key", {"Authorization": f"Basic {token}"}),
            get(address, f"/photos/key?X-Amz-Signature={token}"),
        ]
        assert answers[0][0] == 200
        assert server.end(signal.SIGTERM) == 0
        printed = server.text + "".join(one.stdout + one.stderr for one in said)
        for secret in (SECRET, made["secret_key"], token):
            assert secret not in printed
        for secret in (SECRET, made["secret_key"]):
            assert secret not in str(answers[::3])


def test_log_lines_of_a_request_carry_the_id_that_its_answer_carries(serve):
    with serve("--log-level", "debug") as server:
        _, headers, _ = get(server.ready(), "/nobody/knows")
        identity = headers["x-amz-request-id"]
        line = server.read_until(rf"^.*/nobody/knows.*{identity}.*\n")[0]
        event = json.loads(line)
        assert event["request_id"] == identity and event["message"].startswith("GET /nobody/knows 404")


def test_admin_pages_want_a_fresh_signature_in_a_header_over_this_very_body(serve, tmp_path):
    with serve(**CANARY) as server:
        address = server.ready()

        def post(body, *, signed=None, now=None, secret=SECRET, region="us-east-1"):
            credential = RootCredential(ACCESS, secret)
            covered = body if signed is None else signed
            headers = sign("POST", address, "/-/admin/keys", covered, credential, region=region, now=now or time.time())
            connection = http.client.HTTPConnection(address, timeout=10)
            connection.request("POST", "/-/admin/keys", body, headers)
            status = connection.getresponse().status
            connection.close()
            return status

        body = b'{"name": "x"}'
        assert post(body) == 201
        assert post(body, signed=b'{"name": "y"}') == 403
        assert post(body, now=time.time() - 3600) == 403
        assert post(body, secret="x" * 32) == 403
        assert post(body, region="eu") == 403


def test_an_address_in_use_is_one_clear_line(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        answer = stratum(tmp_path, "serve", "--data", str(tmp_path / "data"), "--s3", address)
    assert answer.returncode == 1
    errors = [line for line in answer.stderr.splitlines() if line.startswith("error")]
    assert errors == [f"error: the S3 endpoint cannot listen on {address} (Address already in use)"]


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(serve):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("")  # the kernel picks an abstract name
        channel.settimeout(30)
        with serve(NOTIFY_SOCKET="@" + channel.getsockname()[1:].decode()) as server:
            assert channel.recv(4096).startswith(b"READY=1\nSTATUS=ready s3=http://127.0.0.1:")
            assert server.end(signal.SIGTERM) == 0
            assert channel.recv(4096).startswith(b"STOPPING=1")


def test_a_second_signal_ends_it_at_once_although_a_client_is_in_the_way(serve):
    with serve() as server:
        host, _, port = server.ready().rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegun")
            server.process.send_signal(signal.SIGTERM)
            server.read_until("stopping: SIGTERM")
            began = time.monotonic()
            assert server.end(signal.SIGTERM) == 1
            assert time.monotonic() - began < 3
            assert "aborting: a second signal" in server.text
    with serve() as server:
        server.ready()
        assert server.end(signal.SIGTERM) == 0


def test_a_client_in_the_way_delays_the_end_for_less_than_ten_seconds(serve):
    with serve(STRATUM_LIMITS_SHUTDOWN_GRACE="1s") as server:
        host, _, port = server.ready().rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegun")
            assert server.end(signal.SIGTERM) == 0
