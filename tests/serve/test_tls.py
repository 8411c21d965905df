"""TLS of the endpoint: what it shows, that it changes without a restart, and that a broken file changes nothing."""

import logging
import os
import socket
import ssl
import stat
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from stratum.core.config import Settings
from stratum.s3.app import make_app
from stratum.s3.http import Request, Response
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.serve.self_signed import VALID_DAYS, make, names_of, renew
from stratum.serve.tls import BadCertificate, Tls, open_tls

NAMES = ("localhost", "127.0.0.1")
NOW = 1_800_000_000.0
DAY = 86400


def pair(folder: Path, name: str, split: bool = False) -> tuple[Path, Path | None]:
    """Write a new certificate and key into files of this name."""
    text, certificate = make(NAMES, NOW)
    key, _, rest = text.partition("-----BEGIN CERT")
    chain, secret = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_text("-----BEGIN CERT" + rest if split else text)
    if split:
        secret.write_text(key)
    os.utime(chain, ns=(certificate.serial_number % 10**15,) * 2)  # whatever the clock's grain
    return chain, secret if split else None


def shown(tls: Tls, *, http2: bool = False, **client) -> tuple[int, str, str]:
    """(serial number, TLS version, application protocol) of a handshake in memory."""
    served = tls.http2_context() if http2 else tls.context()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, value in client.items():
        setattr(context, name, value)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = served.wrap_bio(to_server, to_client, server_side=True)
    theirs = context.wrap_bio(to_client, to_server)
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    certificate = x509.load_der_x509_certificate(theirs.getpeercert(binary_form=True))
    return certificate.serial_number, theirs.version(), theirs.selected_alpn_protocol()


@pytest.mark.parametrize("split", [False, True])
def test_a_certificate_of_the_operator_is_shown_over_a_current_tls_that_speaks_http_1(tmp_path, split):
    files = pair(tmp_path, "a", split)
    _, version, protocol = shown(Tls(files, certificate=files[0]))
    assert (version, protocol) == ("TLSv1.3", "http/1.1")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_of_tls_are_refused(tmp_path):
    files = pair(tmp_path, "a")
    with pytest.raises(ssl.SSLError):
        shown(Tls(files, certificate=files[0]), maximum_version=ssl.TLSVersion.TLSv1_1)


def test_a_changed_file_is_for_new_handshakes_and_an_unchanged_one_is_not_read(tmp_path):
    files = pair(tmp_path, "a")
    tls = Tls(files, certificate=files[0])
    first, context = shown(tls)[0], tls.context()
    tls.refresh()
    assert tls.context() is context
    pair(tmp_path, "a")
    assert shown(tls)[0] == first
    tls.refresh()
    assert shown(tls)[0] != first


def test_http2_is_agreed_on_where_it_is_asked_for_and_with_the_same_certificate(tmp_path):
    files = pair(tmp_path, "a")
    tls = Tls(files, certificate=files[0])
    assert shown(tls)[2] == "http/1.1"
    assert shown(tls, http2=True)[2] == "h2"
    pair(tmp_path, "a")
    tls.refresh()
    assert shown(tls, http2=True)[0] == shown(tls)[0]


async def test_the_files_are_looked_at_again_and_again(tmp_path, autojump_clock):
    autojump_clock.autojump_threshold = (
        0.05  # the look is a thread's, which a clock that jumps at once would not wait for
    )
    files = pair(tmp_path, "a")
    tls = Tls(files, certificate=files[0])
    first = shown(tls)[0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tls.watch, 10.0)
        for _ in range(3):
            pair(tmp_path, "a")
            for _ in range(100):
                await trio.sleep(25)
                if shown(tls)[0] != first:
                    break
            assert shown(tls)[0] != first
            first = shown(tls)[0]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("protocol", ["httptools", "h11"])
async def test_a_new_certificate_is_for_new_connections_and_open_ones_stay(tmp_path, protocol):
    files = pair(tmp_path, "a")
    tls, stop = Tls(files, certificate=files[0]), trio.Event()

    class Door:
        async def handle(self, request: Request) -> Response:
            return Response(200, [], b"served")

    async def connect(port: int) -> tuple[trio.SSLStream, int]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = await trio.open_tcp_stream("127.0.0.1", port)
        stream = trio.SSLStream(plain, context, server_hostname="127.0.0.1", https_compatible=True)
        await stream.do_handshake()
        return stream, x509.load_der_x509_certificate(stream.getpeercert(binary_form=True)).serial_number

    async def asked(stream: trio.SSLStream) -> bool:
        await stream.send_all(b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while not received.endswith(b"served"):
            received += await stream.receive_some()
        return received.startswith(b"HTTP/1.1 200")

    async with trio.open_nursery() as nursery:
        serving = Serving(protocol=protocol, tls=tls.context)
        serve = partial(serve_app, make_app(Door()), open_listener("127.0.0.1", 0), stop=stop.wait, grace=1)
        port = (await nursery.start(partial(serve, serving=serving))).port
        old, first = await connect(port)
        assert await asked(old)
        pair(tmp_path, "a")
        tls.refresh()
        new, second = await connect(port)
        assert first != second
        assert await asked(old) and await asked(new)
        await old.aclose()
        await new.aclose()
        stop.set()


BREAKS = {
    "is empty": lambda chain, key: chain.write_text(""),
    "is gone": lambda chain, key: chain.unlink(),
    "is cut off": lambda chain, key: chain.write_text(chain.read_text()[:200]),
    "has another key": lambda chain, key: key.write_text(make(NAMES, NOW)[0]),
    "has no key": lambda chain, key: key.unlink(),
}


@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
def test_a_broken_new_file_keeps_the_old_certificate_and_is_logged_once(tmp_path, breaks, caplog):
    files = pair(tmp_path, "a", split=True)
    tls = Tls(files, certificate=files[0])
    first = shown(tls)[0]
    breaks(*files)
    with caplog.at_level(logging.ERROR):
        tls.refresh()
        tls.refresh()
    assert shown(tls)[0] == first
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    pair(tmp_path, "a", split=True)
    tls.refresh()
    assert shown(tls)[0] != first


@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
def test_a_server_does_not_start_with_a_broken_file(tmp_path, breaks):
    chain, key = pair(tmp_path, "a", split=True)
    breaks(chain, key)
    settings = Settings(data=tmp_path, disks=(), tls_certificate=chain, tls_key=key)
    with pytest.raises(BadCertificate, match=r"a\.pem"):
        open_tls(settings, lambda: NOW)


def test_nobody_is_asked_for_a_passphrase(tmp_path):
    chain, key = pair(tmp_path, "a", split=True)
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    sealed = serialization.BestAvailableEncryption(b"passphrase")
    kind = serialization.PrivateFormat.PKCS8
    key.write_bytes(secret.private_bytes(serialization.Encoding.PEM, kind, sealed))
    with pytest.raises(BadCertificate, match="passphrase"):
        Tls((chain, key), certificate=chain)


def test_a_self_signed_certificate_is_made_once_and_its_key_is_the_owners_alone(tmp_path):
    settings = Settings(data=tmp_path, disks=(), tls_self_signed=True, domains=("s3.example.org",))
    tls = open_tls(settings, lambda: NOW)
    first = shown(tls)[0]
    assert shown(open_tls(settings, lambda: NOW + 100 * DAY))[0] == first
    assert stat.S_IMODE((tmp_path / "tls/self-signed.pem").stat().st_mode) == 0o600
    assert "PRIVATE" not in tls.certificate.read_text()
    named = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
    alternatives = named.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", socket.gethostname(), "s3.example.org", "*.s3.example.org"} <= set(
        alternatives.get_values_for_type(x509.DNSName)
    )


def test_without_being_asked_for_there_is_no_tls(tmp_path):
    assert open_tls(Settings(data=tmp_path, disks=()), lambda: NOW) is None
    assert not (tmp_path / "tls").exists()


def test_a_self_signed_certificate_is_renewed_before_its_end_while_the_server_runs(tmp_path):
    now = NOW
    tls = open_tls(Settings(data=tmp_path, disks=(), tls_self_signed=True), lambda: now)
    first = shown(tls)[0]
    now += (VALID_DAYS - 29) * DAY
    tls.refresh()
    assert shown(tls)[0] != first
    assert x509.load_pem_x509_certificate(tls.certificate.read_bytes()).serial_number == shown(tls)[0]


def test_a_self_signed_certificate_is_made_anew_for_other_names_or_when_others_could_read_its_key(tmp_path):
    def serial(names=NAMES) -> int:
        return x509.load_pem_x509_certificate(renew(tmp_path, names, NOW).read_bytes()).serial_number

    first = serial()
    assert serial() == first
    second = serial((*NAMES, "s3.example.org"))
    assert second != first
    (tmp_path / "self-signed.pem").chmod(0o644)
    third = serial((*NAMES, "s3.example.org"))
    assert third != second
    (tmp_path / "self-signed.pem").write_text("damaged")
    assert serial() != third


def test_an_address_of_all_is_no_name():
    assert "0.0.0.0" not in names_of(Settings(data=Path("/"), disks=(), s3_host="0.0.0.0"))
