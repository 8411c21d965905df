"""Read the settings: defaults, the TOML file, the environment, the command line; the last one wins.

Room: stratum/serve. May import: core.config, serve.{settings_*}.

    [store]      data = "/srv/stratum"
    [tier.hot]   disks = ["/srv/d0", ...]      code = "4+2"
    [s3]         address = "127.0.0.1:9000"    region = "us-east-1"     (address "none": no endpoint)
                 domains = ["s3.example.org", "localhost"]              (`bucket.<domain>` names a bucket)
                 website_domains = ["web.example.org"]                  (`bucket.<domain>` is a bucket's web site)
                 proxies = ["10.0.0.7", "fd00::/8"]                     (whose X-Forwarded-* is believed)
                 connection = "httptools"                               (or "h11": hypercorn's own protocol)
                 http2 = false                                          (or true: over TLS HTTP/2 may be agreed on)
                 object_ownership = "ObjectWriter"                      (of new buckets; core/acl.py OWNERSHIPS)
    [s3.tls]     certificate = "/etc/s3.pem"   key = "/etc/s3.key"      (PEM; read again when they change)
                 self_signed = true                                     (instead: one is made, in the data folder)
    [console]    address = "127.0.0.1:9001"    plain_http = false          (the web console; "none": there is none)
                 s3_url = "https://s3.example.org"                      (where browsers find S3, behind a proxy)
    [rpc]        address = "none"                                      (HOST:PORT of the native interface, gRPC)
    [log]        level = "info"                format = "auto"
    [mount]      close = "queued"          transport = "raw"           (or "pyfuse3": libfuse speaks with the kernel)
    [lifecycle]  day_seconds = 86400                                   (less lets rules act sooner: tests, staging)
    [encryption] master_key_file = "auto"                              (a path, "auto" or "none": serve/master_key.py)
                 master_key_env = "STRATUM_MASTER_KEY"                 (the variable that holds the keys instead)
                 customer_keys = "auto"                                (SSE-C over "tls", "auto": or from here, "any")
    [tier.warm], [tier.cold.<name>], [tier.route.<name>], [storage_classes]   (other tiers: settings_tiers.py)
    [tiering], [tiering.price], [tiering.policy]   (who decides about tiers, and by what: settings_tiering.py)
    [notify.<name>]  url = "https://..."  (whom buckets may have told of events; see settings_notify.py)
    [oidc.<name>]    issuer = "https://..."  (whose tokens are taken for temporary credentials; see settings_oidc.py)
    [replication.<name>]  access_key_ref = "env:..."  (where buckets may be replicated to; see settings_replication.py)
    [limits]     volume_bytes = "64MiB"        reap_delay = "10min"     (every field of core.config.Limits)

Each is also an environment variable: STRATUM_LIMITS_VOLUME_BYTES, STRATUM_TIER_HOT_DISKS (`:` between paths).
What is not known is an error that names the line, so that a misspelt limit never goes unnoticed.
"""

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePath
from typing import Any

from stratum.core.config import Limits, Settings
from stratum.serve import settings_notify, settings_oidc, settings_replication, settings_tiering, settings_tiers
from stratum.serve.settings_values import (
    Malformed,
    join_address,
    parse_address,
    parse_close,
    parse_code,
    parse_connection,
    parse_count,
    parse_customer_keys,
    parse_domains,
    parse_file,
    parse_key_file,
    parse_level,
    parse_log_format,
    parse_networks,
    parse_origin,
    parse_ownership,
    parse_path,
    parse_paths,
    parse_seconds,
    parse_switch,
    parse_text,
    parse_transport,
)

PREFIX = "STRATUM_"
DISKS = 6  # of a store for which none are named


class BadSettings(Exception):
    """The settings cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where each value that is not a default came from (key -> place)."""

    settings: Settings
    sources: dict[str, str]

    @property
    def disks_by_default(self) -> bool:
        """No disks were named: they are folders below the data folder, on one device."""
        return "tier.hot.disks" not in self.sources


# key -> how its value is read.
PARSERS: dict[str, Callable[[Any], Any]] = {
    "store.data": parse_path,
    "tier.hot.disks": parse_paths,
    "tier.hot.code": parse_code,
    **settings_tiers.WARM,
    "s3.address": parse_address,
    "s3.region": parse_text,
    "s3.domains": parse_domains,
    "s3.website_domains": parse_domains,
    "s3.proxies": parse_networks,
    "s3.connection": parse_connection,
    "s3.http2": parse_switch,
    "s3.object_ownership": parse_ownership,
    "s3.tls.certificate": parse_file,
    "s3.tls.key": parse_file,
    "s3.tls.self_signed": parse_switch,
    "rpc.address": parse_address,
    "console.address": parse_address,
    "console.s3_url": parse_origin,
    "console.plain_http": parse_switch,
    "log.level": parse_level,
    "log.format": parse_log_format,
    "mount.close": parse_close,
    "mount.transport": parse_transport,
    "lifecycle.day_seconds": parse_count,
    **settings_tiering.PARSERS,
    "encryption.master_key_file": parse_key_file,
    "encryption.master_key_env": parse_text,
    "encryption.customer_keys": parse_customer_keys,
    **{f"limits.{one.name}": parse_count if one.type is int else parse_seconds for one in fields(Limits)},
}
FIELDS = {
    "s3.region": "region",
    "s3.domains": "domains",
    "s3.website_domains": "website_domains",
    "s3.proxies": "proxies",
    "s3.connection": "connection",
    "s3.http2": "http2",
    "s3.object_ownership": "object_ownership",
    "s3.tls.certificate": "tls_certificate",
    "s3.tls.key": "tls_key",
    "s3.tls.self_signed": "tls_self_signed",
    "console.s3_url": "console_s3_url",
    "console.plain_http": "console_plain_http",
    "log.level": "log_level",
    "log.format": "log_format",
    "mount.close": "close",
    "mount.transport": "transport",
    "lifecycle.day_seconds": "day_seconds",
    "encryption.master_key_file": "master_key_file",
    "encryption.master_key_env": "master_key_env",
    "encryption.customer_keys": "customer_keys",
}


def default_data(environment: Mapping[str, str]) -> Path:
    """Where the store is kept when nobody says: /var/lib/stratum for root, else the XDG data folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/stratum")
    home = environment.get("XDG_DATA_HOME") or os.path.join(environment.get("HOME", "/"), ".local/share")
    return Path(home) / "stratum"


def load_settings(
    path: Path | None, environment: Mapping[str, str], options: Mapping[str, object] | None = None
) -> Loaded:
    """Read everything. `options` are values from the command line by key. Raises BadSettings."""
    values: dict[str, tuple[object, str]] = {}
    if path is not None:
        values.update(_from_file(path))
    values.update(_from_environment(environment))
    given = {key: value for key, value in (options or {}).items() if value is not None}
    values.update({key: (value, "command line") for key, value in given.items()})
    parsed = {key: _parse(key, value, place) for key, (value, place) in values.items()}
    try:
        settings = _settings(parsed, default_data(environment))
    except Malformed as error:
        raise BadSettings(str(error)) from error
    return Loaded(settings, {key: place for key, (_, place) in values.items()})


def _settings(parsed: dict[str, Any], data: Path) -> Settings:
    data = parsed.pop("store.data", data)
    k, parity = parsed.pop("tier.hot.code", (4, 2))
    disks = parsed.pop("tier.hot.disks", None) or _folders(data, k + parity)
    if len(disks) < k + parity:
        raise Malformed(f"tier.hot.code: {k}+{parity} needs {k + parity} disks, {len(disks)} are named")
    host, port = parsed.pop("s3.address", ("127.0.0.1", 9000))
    rpc_host, rpc_port = parsed.pop("rpc.address", ("127.0.0.1", None))
    console_host, console_port = parsed.pop("console.address", ("127.0.0.1", 9001))
    _check_tls(parsed)
    notify = settings_notify.take_targets(parsed)
    tiering = settings_tiering.take_tiering(parsed)
    oidc = settings_oidc.take_providers(parsed)
    replication = settings_replication.take_remotes(parsed)
    warm = settings_tiers.take_warm(parsed, disks)
    cold = settings_tiers.take_cold(parsed)
    limits = {name.removeprefix("limits."): parsed[name] for name in parsed if name.startswith("limits.")}
    rest = {FIELDS[key]: value for key, value in parsed.items() if key in FIELDS}
    return Settings(
        data=data,
        disks=disks,
        k=k,
        parity=parity,
        s3_host=host,
        rpc_host=rpc_host,
        rpc_port=rpc_port,
        console_host=console_host,
        console_port=console_port,
        s3_port=port,
        limits=Limits(**limits),
        notify=notify,
        tiering=tiering,
        oidc=oidc,
        replication=replication,
        warm=warm,
        cold=cold,
        routes=settings_tiers.take_routes(parsed, cold),
        storage_classes=settings_tiers.take_classes(parsed, warm, cold),
        **rest,
    )


def _check_tls(parsed: Mapping[str, Any]) -> None:
    certificate = parsed.get("s3.tls.certificate")
    if parsed.get("s3.tls.key") and not certificate:
        raise Malformed("s3.tls.key: without s3.tls.certificate it is the key of nothing")
    if parsed.get("s3.tls.self_signed") and certificate:
        raise Malformed("s3.tls.self_signed: there is a certificate already, s3.tls.certificate")
    if parsed.get("s3.http2") and not (certificate or parsed.get("s3.tls.self_signed")):
        raise Malformed("s3.http2: it is spoken over TLS only: s3.tls.certificate, or s3.tls.self_signed")


def _folders(data: Path, shards: int) -> tuple[Path, ...]:
    return tuple(data / "disks" / str(slot) for slot in range(max(DISKS, shards)))


def as_keys(settings: Settings) -> dict[str, object]:
    """The settings by key, as values a file could hold: reading them again gives the same settings."""
    limits = {f"limits.{one.name}": getattr(settings.limits, one.name) for one in fields(Limits)}
    found = {
        "store.data": str(settings.data),
        "tier.hot.disks": [str(path) for path in settings.disks],
        "tier.hot.code": f"{settings.k}+{settings.parity}",
        "s3.address": join_address(settings.s3_host, settings.s3_port),
        "rpc.address": join_address(settings.rpc_host, settings.rpc_port),
        "console.address": join_address(settings.console_host, settings.console_port),
        **{key: _as_key(getattr(settings, name)) for key, name in FIELDS.items()},
        **settings_tiers.as_keys(settings.warm, settings.cold, settings.routes, settings.storage_classes),
        **settings_notify.as_keys(settings.notify),
        **settings_tiering.as_keys(settings.tiering),
        **settings_oidc.as_keys(settings.oidc),
        **settings_replication.as_keys(settings.replication),
        **limits,
    }
    sections = list(dict.fromkeys(key.rpartition(".")[0] for key in found))  # a TOML file opens each only once
    return dict(sorted(found.items(), key=lambda item: sections.index(item[0].rpartition(".")[0])))


def _as_key(value: object) -> object:
    return "" if value is None else str(value) if isinstance(value, PurePath) else value


def _parser_of(key: str) -> Callable[[Any], Any] | None:
    """`named`: tables whose names are the operator's own, or many."""
    named = (settings_notify, settings_tiers, settings_oidc, settings_replication, settings_tiering)
    return PARSERS.get(key) or next((found for each in named if (found := each.parser_of(key))), None)


def _parse(key: str, value: object, place: str) -> object:
    try:
        parser = _parser_of(key)
        assert parser is not None, "keys were looked at where they were read"
        return parser(value)
    except Malformed as error:
        raise BadSettings(f"{place}: {key}: {error}") from error


def _from_file(path: Path) -> dict[str, tuple[object, str]]:
    try:
        text = path.read_text()
        tables = tomllib.loads(text)
    except OSError as error:
        raise BadSettings(f"{path}: {error.strerror}") from error
    except ValueError as error:  # of TOML (it names the line) or of UTF-8
        raise BadSettings(f"{path}: {error}") from error
    found: dict[str, tuple[object, str]] = {}
    for key, value in _flat(tables):
        line = line_of(text, key)
        place = f"{path}, line {line}" if line else str(path)
        if _parser_of(key) is None:
            raise BadSettings(f"{place}: {key} is not a setting{_nearest(key)}")
        found[key] = (value, place)
    return found


def _flat(table: Mapping[str, object], above: str = "") -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for name, value in table.items():
        flat += _flat(value, f"{above}{name}.") if isinstance(value, dict) else [(above + name, value)]
    return flat


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    """Every STRATUM_<SECTION>_<NAME>. Other names below STRATUM_ (root credentials ...) are not settings."""
    names = {PREFIX + key.replace(".", "_").upper(): key for key in PARSERS}
    sections = tuple({PREFIX + key.rpartition(".")[0].replace(".", "_").upper() + "_" for key in PARSERS})
    found: dict[str, tuple[object, str]] = {}
    for name, value in environment.items():
        if name in names:
            found[names[name]] = (value, f"environment variable {name}")
        elif name.startswith(sections):
            raise BadSettings(f"environment variable {name} is not a setting")
    return found


def line_of(text: str, key: str) -> int:
    """The line (from 1) on which the TOML `text` sets `key`; 0 if it cannot be told. For messages only."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip().replace('"', "").replace("'", "")
        if bare.startswith("["):
            table = bare.strip("[] ").partition("]")[0].strip() + "."
            if key.startswith(table) and key.count(".") == table.count(".") - 1:
                return number
        name, sets, _ = bare.partition("=")
        if sets and f"{table}{name.strip()}" == key:
            return number
    return 0


def _nearest(key: str) -> str:
    """A suggestion for a key that is not known."""
    close = difflib.get_close_matches(key, PARSERS, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
