from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.config import MIB, Limits, Settings
from stratum.serve.settings_file import PARSERS, BadSettings, line_of, load_settings
from stratum.serve.settings_values import Malformed, parse_count, parse_seconds

EXAMPLE = """\
[store]
data = "/srv/stratum"

[tier.hot]
disks = ["/d/0", "/d/1", "/d/2", "/d/3", "/d/4", "/d/5", "/d/6"]
code = "5+2"

[s3]
address = "[::1]:9100"
region = "eu-central-1"

[log]
level = "debug"
format = "json"

[mount]
close = "durable"
transport = "pyfuse3"

[limits]
volume_bytes = "16MiB"
reap_delay = "10min"
requests = 7
"""


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "stratum.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_sets_everything(file):
    loaded = load_settings(file(EXAMPLE), {})
    assert loaded.settings == Settings(
        data=Path("/srv/stratum"),
        disks=tuple(Path(f"/d/{slot}") for slot in range(7)),
        k=5,
        parity=2,
        s3_host="::1",
        s3_port=9100,
        region="eu-central-1",
        log_level="debug",
        log_format="json",
        close="durable",
        transport="pyfuse3",
        limits=Limits(volume_bytes=16 * MIB, reap_delay=600.0, requests=7),
    )
    assert loaded.sources["limits.requests"].endswith("stratum.toml, line 23")


def test_every_field_of_the_settings_can_be_set():
    in_sections = {
        "data",
        "disks",
        "k",
        "parity",
        "s3_host",
        "s3_port",
        "region",
        "domains",
        "proxies",
        "website_domains",
        "connection",
        "http2",
        "object_ownership",
        "tls_certificate",
        "tls_key",
        "tls_self_signed",
        "transport",
    }
    in_sections |= {"warm", "cold", "routes", "storage_classes"}
    in_sections |= {"log_level", "log_format", "close", "limits", "day_seconds", "notify", "oidc", "replication"}
    in_sections |= {"console_host", "console_port", "console_s3_url", "console_plain_http", "rpc_host", "rpc_port"}
    in_sections |= {"tiering", "master_key_file", "master_key_env", "customer_keys"}
    assert {field.name for field in fields(Settings)} == in_sections
    assert {f"limits.{field.name}" for field in fields(Limits)} <= set(PARSERS)


@pytest.mark.parametrize("key", PARSERS)
def test_every_setting_is_also_an_environment_variable(key, tmp_path):
    values = {"tier.warm.disks": "/w/0:/w/1:/w/2", "tier.warm.code": "2+1"}
    values |= {"store.data": "/x", "tier.hot.disks": "/a:/b:/c", "tier.hot.code": "2+1", "s3.address": ":1"}
    values |= {"s3.region": "eu", "log.level": "error", "log.format": "text", "mount.close": "durable"}
    values |= {"mount.transport": "pyfuse3", "tiering.mode": "off", "tiering.prices": "rented"}
    values |= {"encryption.master_key_file": "/k", "encryption.customer_keys": "tls"}
    values |= {"s3.website_domains": "web.example.org"}
    values |= {
        "rpc.address": ":3",
        "console.address": ":2",
        "console.s3_url": "https://s3.example.org",
        "console.plain_http": "true",
    }
    values |= {"s3.connection": "h11", "s3.tls.certificate": "/a", "s3.tls.key": "/b", "s3.tls.self_signed": "true"}
    values |= {"s3.object_ownership": "BucketOwnerEnforced", "s3.http2": "true"}
    values |= {"s3.domains": "s3.example.org", "s3.proxies": "10.0.0.0/8,::1"}
    environment = {"STRATUM_" + key.replace(".", "_").upper(): values.get(key, "77")}
    if key == "tier.hot.disks":
        environment["STRATUM_TIER_HOT_CODE"] = "2+1"
    if key == "tier.warm.disks":
        environment["STRATUM_TIER_WARM_CODE"] = "2+1"
    if key == "tier.warm.code":
        environment["STRATUM_TIER_WARM_DISKS"] = "/w/0:/w/1:/w/2"
    if key == "s3.tls.key":
        environment["STRATUM_S3_TLS_CERTIFICATE"] = "/a"
    if key == "s3.http2":
        environment["STRATUM_S3_TLS_SELF_SIGNED"] = "true"
    loaded = load_settings(None, environment)
    assert loaded.sources[key].startswith("environment variable STRATUM_")
    assert loaded.settings != load_settings(None, {}).settings


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(file):
    path, variable, key = file('[s3]\nregion = "file"'), {"STRATUM_S3_REGION": "env"}, "s3.region"
    assert load_settings(None, {}).settings.region == "us-east-1"
    assert load_settings(path, {}).settings.region == "file"
    assert load_settings(path, variable).settings.region == "env"
    assert load_settings(path, variable, {key: "option"}).settings.region == "option"
    assert load_settings(path, variable, {key: None}).settings.region == "env"


@pytest.mark.parametrize(
    "text, line, word",
    [
        ("[s3]\nregion = 'x'\n\nadress = ':1'", 4, "s3.address"),
        ("[s3]\nregion = 5", 2, "5"),
        ("[s3]\ndomains = ['http://x']", 2, "host name"),
        ("[s3]\ndomains = 'a b'", 2, "host name"),
        ("[s3]\ndomains = ['10.0.0.1']", 2, "host name"),
        ("[s3]\ndomains = ['x:9000']", 2, "host name"),
        ("[s3]\ndomains = [5]", 2, "list"),
        ("[s3]\nproxies = ['10.0.0.0/40']", 2, "IP address"),
        ("[s3]\nproxies = ['proxy']", 2, "IP address"),
        ("[s3]\nconnection = 'h2'", 2, "httptools"),
        ("[s3.tls]\nself_signed = 'perhaps'", 2, "true"),
        ("[limits]\nparts = '1.5'", 2, "whole"),
        ("[limits]\nparts = true", 2, "True"),
        ("[tier.hot]\ncode = '4+0'", 2, "parity"),
        ("[tier.hot]\ndisks = ['/a', '/a/.']", 2, "twice"),
        ("limits.volume_bytez = 1", 1, "limits.volume_bytes"),
        ("[tier.lukewarm]\ndisks = []", 2, "not a setting"),
        ("[s3\n", 1, "line 1"),
    ],
)
def test_a_mistake_is_an_error_that_names_the_line(file, text, line, word):
    with pytest.raises(BadSettings, match=rf"line {line}\b") as caught:
        load_settings(file(text), {})
    assert word in str(caught.value)


def test_http2_is_off_until_asked_for_and_wants_tls(file):
    assert not load_settings(None, {}).settings.http2
    with pytest.raises(BadSettings, match="TLS"):
        load_settings(file("[s3]\nhttp2 = true"), {})
    assert load_settings(file("[s3]\nhttp2 = true\n[s3.tls]\nself_signed = true"), {}).settings.http2


def test_domains_are_lower_case_and_may_be_none_at_all(file):
    settings = load_settings(file("[s3]\ndomains = ['S3.Example.ORG.', 'localhost']"), {}).settings
    assert settings.domains == ("s3.example.org", "localhost")
    assert load_settings(file("[s3]\ndomains = []"), {}).settings.domains == ()
    assert load_settings(None, {"STRATUM_S3_PROXIES": "10.0.0.7, fd00::/8"}).settings.proxies == (
        "10.0.0.7",
        "fd00::/8",
    )


def test_a_misspelt_variable_is_an_error_and_other_variables_are_none_of_our_business():
    with pytest.raises(BadSettings, match="STRATUM_LIMITS_VOLUME_BYTEZ"):
        load_settings(None, {"STRATUM_LIMITS_VOLUME_BYTEZ": "1"})
    load_settings(None, {"STRATUM_ROOT_SECRET_KEY": "x", "STRATUM_FAILPOINT": "y", "HOME": "/"})


def test_a_code_needs_as_many_disks_and_gets_them_when_none_are_named(file):
    assert len(load_settings(file("[tier.hot]\ncode = '6+3'"), {}).settings.disks) == 9
    assert load_settings(None, {}).disks_by_default
    with pytest.raises(BadSettings, match="needs 6 disks, 2 are named"):
        load_settings(file("[tier.hot]\ndisks = ['/a', '/b']"), {})


@pytest.mark.parametrize("text", ["0", "-1", "", "MiB", "1 parsec", "1e3", "nan", "\u0661", None, [], 0, -5, True])
def test_what_is_not_a_quantity_is_refused(text):
    with pytest.raises(Malformed):
        parse_count(text)
    with pytest.raises(Malformed):
        parse_seconds(text)


@given(st.integers(1, 2**40))
def test_sizes_are_read_exactly(number):
    assert parse_count(number) == parse_count(str(number)) == number
    assert parse_count(f"{number} KiB") == number * 1024
    assert parse_count(f"{number}mb") == number * 10**6


@given(st.text(), st.text())
def test_looking_for_a_line_never_fails(text, key):
    assert line_of(text, key) >= 0
