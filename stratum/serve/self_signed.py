"""A self-signed certificate for a server that has no other: made on request, kept in the data folder, renewed in time.

Room: stratum/serve. May import: core.config, serve.secret_file. Blocking.

    self-signed.pem    0600   the key and the certificate; what counts
    certificate.pem    0644   the certificate alone, for clients: AWS_CA_BUNDLE, --ca-bundle
"""

import datetime
import ipaddress
import socket
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stratum.core.config import Settings
from stratum.serve.secret_file import ReadableByOthers, read_secret, write_secret

VALID_DAYS = 397  # what browsers take at most
RENEWED_DAYS = 30  # before its end
EARLIER_DAYS = 1  # valid from, for clients whose clocks are late

Names = tuple[str, ...]


def names_of(settings: Settings) -> Names:
    """Return the host names and addresses that clients may reach the endpoint by, as far as the settings tell."""
    hosts = ["localhost", "127.0.0.1", "::1", socket.gethostname(), settings.s3_host]
    domains = [name for domain in settings.domains for name in (domain, f"*.{domain}")]
    websites = [f"*.{domain}" for domain in settings.website_domains]
    return tuple(dict.fromkeys(name for name in [*hosts, *domains, *websites] if name not in ("", "0.0.0.0", "::")))


def renew(folder: Path, names: Names, now: float) -> Path:
    """Return the file with key and certificate; made anew if missing, damaged, of other names, or near its end.

    `now`: seconds since the epoch. Raises OSError.
    """
    secret, public = folder / "self-signed.pem", folder / "certificate.pem"
    kept = _read(secret)
    if kept is None or not _serves(kept, names, now):
        text, kept = make(names, now)
        write_secret(secret, text)
        public.unlink(missing_ok=True)
    if not public.exists():
        write_secret(public, kept.public_bytes(serialization.Encoding.PEM).decode())
        public.chmod(0o644)
    return secret


def _read(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(read_secret(path).encode())
    except (FileNotFoundError, ReadableByOthers, ValueError):
        return None


def _serves(kept: x509.Certificate, names: Names, now: float) -> bool:
    left = kept.not_valid_after_utc.timestamp() - now
    found = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return left > RENEWED_DAYS * 86400 and list(found) == [_name(name) for name in names]


def make(names: Names, now: float) -> tuple[str, x509.Certificate]:
    """Return (key and certificate as PEM, the certificate) for `names`, valid from `now` on."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stratum, self-signed")])
    since = datetime.datetime.fromtimestamp(now, datetime.UTC)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - datetime.timedelta(days=EARLIER_DAYS))
        .not_valid_after(since + datetime.timedelta(days=VALID_DAYS - EARLIER_DAYS))
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (secret + made.public_bytes(pem)).decode(), made


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
