"""TLS of the endpoint: the certificate of the operator or a self-signed one, read again when its files change.

Room: stratum/serve. May import: core.config, serve.self_signed.

New handshakes use the new certificate, open connections stay. Files that cannot be used (half copied, key and
certificate of different pairs) change nothing but the log: the server goes on with what it has.
"""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import trio

from stratum.core.config import Settings
from stratum.serve.self_signed import names_of, renew

log = logging.getLogger(__name__)

FOLDER = "tls"  # in the data folder, for the self-signed certificate


class BadCertificate(Exception):
    """Certificate or key cannot be used; the message says which file and why."""


class Tls:
    """The context of new connections. `certificate`: what clients may be given to trust."""

    def __init__(
        self, files: tuple[Path, Path | None], *, certificate: Path, renews: Callable[[], object] = lambda: None
    ) -> None:
        """Read `files`, a PEM chain and its key (None: in the same file). Raises BadCertificate.

        `renews` is called before each look at them, and may write them.
        """
        self.certificate = certificate
        self._files, self._renews = files, renews
        self._seen = self._stamps()
        self._contexts = load(*files), load(*files, http2=True)

    def context(self) -> ssl.SSLContext:
        """For the next handshake."""
        return self._contexts[0]

    def http2_context(self) -> ssl.SSLContext:
        """For the next handshake, where HTTP/2 may be agreed on."""
        return self._contexts[1]

    def pem(self) -> tuple[bytes, bytes]:
        """(key, chain) as they are now; blocking. For servers that keep no SSLContext. Raises OSError."""
        chain, key = self._files
        return (key or chain).read_bytes(), chain.read_bytes()

    def refresh(self) -> None:
        """Look at the files; blocking."""
        try:
            self._renews()
            if (stamps := self._stamps()) == self._seen:
                return
            self._seen = stamps
            self._contexts = load(*self._files), load(*self._files, http2=True)
        except (BadCertificate, OSError) as error:
            log.error("the certificate is not changed: %s", error)
        else:
            log.info("new connections use the new certificate", extra={"certificate": str(self._files[0])})

    async def watch(self, interval: float) -> None:
        """Look at the files every `interval` seconds, until cancelled."""
        while True:
            await trio.sleep(interval)
            await trio.to_thread.run_sync(self.refresh)

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._files if path is not None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def open_tls(settings: Settings, now: Callable[[], float]) -> Tls | None:
    """Return the TLS that the settings ask for; None: plain HTTP. Raises BadCertificate, OSError."""
    if settings.tls_certificate is not None:
        chain = Path(settings.tls_certificate)
        return Tls((chain, Path(settings.tls_key) if settings.tls_key else None), certificate=chain)
    if not settings.tls_self_signed:
        return None
    folder = Path(settings.data) / FOLDER

    def renews() -> Path:
        return renew(folder, names_of(settings), now())

    secret = renews()
    return Tls((secret, None), certificate=folder / "certificate.pem", renews=renews)


def load(chain: Path, key: Path | None, *, http2: bool = False) -> ssl.SSLContext:
    """Return a server's context: TLS 1.2 or newer, HTTP/1.1, and HTTP/2 if asked for. Raises BadCertificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    try:
        context.load_cert_chain(chain, key, password=_ask_nobody)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        where = f"{chain} with the key in {key}" if key else str(chain)
        raise BadCertificate(f"{where}: {_reason(error)}") from error
    return context


def _ask_nobody() -> str:
    """Without it, OpenSSL would ask on the terminal."""
    raise ValueError("the key has a passphrase; a server needs one without")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not a certificate with its key").replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
