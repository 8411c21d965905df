"""The tables of tiers in the settings: read, shown again, and refused with a reason."""

import json
from pathlib import Path

import pytest

from stratum.core.config import MIB, ColdTier, TierRoute, WarmTier
from stratum.serve.settings_file import BadSettings, as_keys, load_settings

EXAMPLE = """\
[tier.warm]
disks = ["/w/0", "/w/1", "/w/2", "/w/3"]
code = "3+1"

[tier.cold.b2]
bucket = "archive"
endpoint_url = "https://s3.example.org"
region = "eu"
key_prefix = "/here/"
access_key_ref = "env:B2_ID"
secret_key_ref = "file:/run/secrets/b2"
storage_class = "STANDARD_IA"
sse = "AES256"
multipart_threshold_bytes = "32MiB"
multipart_chunk_bytes = "8MiB"
addressing = "path"
allow_private = true
verify = "read"

[tier.route.invoices]
backend = "b2"
bucket = "finance"
prefix = "invoices/"
tag = "retention=10y"
metadata = "producer=sap"

[storage_classes]
STANDARD = "hot"
STANDARD_IA = "warm"
GLACIER_IR = "cold"
"""
COLD = '[tier.cold.b2]\nbucket = "b"\naccess_key_ref = "env:A"\nsecret_key_ref = "env:B"\n'


@pytest.fixture
def load(tmp_path):
    def read(text: str):
        path = tmp_path / "stratum.toml"
        path.write_text(text)
        return load_settings(path, {}).settings

    return read


def test_a_file_sets_all_of_them(load):
    settings = load(EXAMPLE)
    assert settings.warm == WarmTier(disks=tuple(Path(f"/w/{slot}") for slot in range(4)), k=3, parity=1)
    assert settings.cold == (
        ColdTier(
            name="b2",
            bucket="archive",
            endpoint_url="https://s3.example.org",
            region="eu",
            key_prefix="here",
            access_key_ref="env:B2_ID",
            secret_key_ref="file:/run/secrets/b2",
            storage_class="STANDARD_IA",
            sse="AES256",
            multipart_threshold_bytes=32 * MIB,
            multipart_chunk_bytes=8 * MIB,
            addressing="path",
            allow_private=True,
            verify="read",
        ),
    )
    (invoices,) = settings.routes
    assert invoices == TierRoute(
        name="invoices",
        backend="b2",
        bucket="finance",
        prefix="invoices/",
        tag="retention=10y",
        metadata="producer=sap",
    )
    assert settings.storage_classes == (("GLACIER_IR", "cold"), ("STANDARD_IA", "warm"))


def test_what_is_shown_reads_as_the_same_settings(load, tmp_path):

    settings = load(EXAMPLE)
    lines = [
        f"{key} = {json.dumps(value)}" for key, value in as_keys(settings).items() if key.startswith(("tier", "sto"))
    ]
    again = load("\n".join(line for line in lines if not line.startswith(("tier.hot", "store."))))
    assert (again.warm, again.cold, again.routes, again.storage_classes) == (
        settings.warm,
        settings.cold,
        settings.routes,
        settings.storage_classes,
    )


@pytest.mark.parametrize(
    "text, words",
    [
        ('[tier.warm]\ndisks = ["/w/0"]\n', "needs 6 disks"),
        ('[tier.warm]\ncode = "2+1"\n', "without tier.warm.disks"),
        (
            '[tier.hot]\ndisks = ["/a", "/b", "/c"]\ncode = "2+1"\n[tier.warm]\ndisks = ["/c", "/d"]\ncode = "1+1"\n',
            "one tier",
        ),
        ('[tier.cold.b2]\nbucket = "b"\n', "access_key_ref, secret_key_ref"),
        (COLD.replace('"env:B"', '"the secret itself"'), "does not belong here"),
        (COLD + 'storage_class = "GLACIER"\n', "before it is restored"),
        (COLD + 'multipart_chunk_bytes = "1MiB"\n', "5MiB to 512MiB"),
        (COLD + 'colour = "blue"\n', "not a setting"),
        (COLD.replace("b2", "warm"), "name of a tier"),
        ('[tier.route.x]\nbackend = "nobody"\n', "must name one of"),
        (COLD + '[tier.route.x]\nbackend = "b2"\ntag = "x"\n', "key=value"),
        ('[storage_classes]\nGLACIER = "cold"\n', "there is no cold tier"),
        (COLD + '[storage_classes]\nSTANDARD = "cold"\n', "STANDARD is hot"),
        (COLD + '[storage_classes]\nPLATINUM = "cold"\n', "no such class"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(load, text, words):
    with pytest.raises(BadSettings, match=words):
        load(text)
