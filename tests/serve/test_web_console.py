"""The web console of a real process: who gets in, what it may do, and what a browser is told to refuse."""

import http.client
import json
import re
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from tests.serve.running import Running, stratum

pytestmark = pytest.mark.system


class Browser:
    """As the console's script asks: with the session in a header."""

    def __init__(self, url):
        self.address = urlsplit(url).netloc
        self.session = ""

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.session:
            headers["X-Stratum-Session"] = self.session
        raw = json.dumps(body).encode() if isinstance(body, dict) else body
        connection.request(method, path, raw, headers)
        answered = connection.getresponse()
        found = answered.status, answered.read(), dict(answered.getheaders())
        connection.close()
        return found

    def log_in(self, **given):
        code, body, _ = self.ask("POST", "/-/session", given)
        self.session = json.loads(body).get("session", "")
        return code


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("console")
    root = {"STRATUM_ROOT_ACCESS_KEY": "STRROOT", "STRATUM_ROOT_SECRET_KEY": "canary-secret-of-root"}
    more = {"STRATUM_STORE_DATA": str(folder / "data"), "STRATUM_S3_ADDRESS": "127.0.0.1:0", **root}
    with Running(folder, "serve", STRATUM_CONSOLE_ADDRESS="127.0.0.1:0", **more) as running:
        s3 = running.read_until(r"ready s3=(\S+)")[1]

        def command(*arguments):
            done = stratum(folder, *arguments, **more)
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield command, json.loads(command("status", "--json"))["console"], s3
        assert "canary" not in running.text


@pytest.fixture
def browser(server):
    return Browser(server[1])


def test_a_key_logs_in_and_a_wrong_one_does_not(browser):
    assert browser.log_in(access_key="STRROOT", secret_key="guess") == 403
    assert browser.ask("GET", "/-/session")[0] == 401
    assert browser.log_in(access_key="STRROOT", secret_key="canary-secret-of-root") == 201
    shown = json.loads(browser.ask("GET", "/-/session")[1])
    assert shown["root"] and shown["endpoint"].startswith("http://127.0.0.1:")
    assert json.loads(browser.ask("GET", "/-/admin/status")[1])["state"] == "healthy"
    assert browser.ask("DELETE", "/-/session")[0] == 200
    assert browser.ask("GET", "/-/admin/status")[0] == 401


def test_a_link_from_the_terminal_opens_the_console_once(server, browser):
    link = server[0]("console").strip()
    assert link.startswith(server[1] + "/#ticket=")
    ticket = link.partition("ticket=")[2]
    assert [browser.log_in(ticket=ticket), browser.log_in(ticket=ticket)] == [201, 403]


def test_it_is_an_s3_client_as_whoever_is_logged_in(server, browser):
    browser.log_in(access_key="STRROOT", secret_key="canary-secret-of-root")
    assert browser.ask("PUT", "/-/s3/shown")[0] == 200
    assert browser.ask("PUT", "/-/s3/shown/a%20b", b"<script>", Content_Type="text/html")[0] == 200
    code, body, headers = browser.ask("GET", "/-/s3/shown/a%20b")
    assert (code, body) == (200, b"<script>")
    assert headers["content-security-policy"] == "sandbox"
    listed = ElementTree.fromstring(browser.ask("GET", "/-/s3/shown?list-type=2")[1])
    assert [found.text for found in listed.findall(".//{*}Key")] == ["a b"]
    assert browser.ask("GET", "/-/s3/shown?policy")[0] == 404
    made = json.loads(browser.ask("POST", "/-/link", {"bucket": "shown", "key": "a b", "seconds": 60})[1])
    parts = urlsplit(made["url"])
    anybody = Browser(server[2])
    assert parts.netloc == anybody.address
    assert anybody.ask("GET", f"{parts.path}?{parts.query}")[1] == b"<script>"
    assert browser.ask("POST", "/-/link", {"bucket": "shown", "key": "a b", "seconds": 0})[0] == 400


def test_a_user_sees_what_its_policy_allows_and_no_administration(server, browser):
    made = json.loads(server[0]("user", "create", "viewer", "--json"))
    key = json.loads(server[0]("key", "create", "tab", "--user", made["user"], "--json"))
    browser.log_in(access_key=key["access_key"], secret_key=key["secret_key"])
    assert json.loads(browser.ask("GET", "/-/session")[1])["root"] is False
    for method, path in (("GET", "/-/admin/status"), ("GET", "/-/admin/users"), ("GET", "/-/metrics")):
        assert browser.ask(method, path)[0] == 403
    assert browser.ask("GET", "/-/s3/")[0] == 200
    assert browser.ask("GET", "/-/s3/not-theirs/key")[0] in (403, 404)
    server[0]("key", "delete", key["access_key"])
    assert browser.ask("GET", "/-/session")[0] == 401


@pytest.mark.parametrize("headers", [{}, {"X_Stratum_Session": "guess"}, {"Cookie": "session=x"}])
def test_nothing_is_passed_on_without_a_session(browser, headers):
    for method in ("GET", "PUT", "DELETE"):
        assert browser.ask(method, "/-/s3/shown/key", b"" if method == "PUT" else None, **headers)[0] == 401


def test_a_session_is_no_signature_for_the_s3_port(server, browser):
    browser.log_in(access_key="STRROOT", secret_key="canary-secret-of-root")
    outside = Browser(server[2])
    outside.session = browser.session
    assert outside.ask("GET", "/-/admin/status")[0] == 403
    assert outside.ask("GET", "/")[0] == 403
    assert outside.ask("GET", "/-/s3/shown")[0] == 404


def test_a_browser_is_told_to_run_nothing_but_the_consoles_own_files(browser):
    code, body, headers = browser.ask("GET", "/")
    policy = headers["content-security-policy"]
    assert code == 200 and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and re.search(r"connect-src 'self' http://127\.0\.0\.1:\d+;", policy)
    assert not re.search(rb"<script(?![^>]*\bsrc=)|\son\w+=|style=", body)
    for name in re.findall(r'(?:src|href)="([^"#]+)"', body.decode()):
        assert browser.ask("GET", f"/{name}")[0] == 200, name
    assert browser.ask("GET", "/web/..%2fweb.py")[0] == 404
    assert "evil" not in browser.ask("GET", "/", Host="evil'; x")[2]["content-security-policy"]
