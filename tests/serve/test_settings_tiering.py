"""The settings of deciding about tiers: read, shown so that they read the same, and refused with what is wrong."""

import pytest

from stratum.core.tiering.books import OWN, RENTED
from stratum.core.tiering.policy import Policy
from stratum.serve.settings_file import BadSettings, as_keys, load_settings

BOOK = """
name = "mine"
currency = "EUR"
[tier.hot]
storage_usd_per_gb_month = 0.02
[tier.warm]
storage_usd_per_gb_month = 0.01
[tier.cold]
storage_usd_per_gb_month = 0.005
retrieval_usd_per_gb = 0.02
"""


def read(tmp_path, text, environment=None):
    path = tmp_path / "stratum.toml"
    path.write_text(text)
    return load_settings(path, environment or {}).settings


def again(tmp_path, settings):
    """The same settings, by way of what `config show` prints."""
    shown = {key: value for key, value in as_keys(settings).items() if value != "" or key.startswith("tiering")}
    return load_settings(None, {}, shown).settings


def test_without_a_word_it_decides_by_the_prices_of_owned_disks(tmp_path):
    tiering = read(tmp_path, "").tiering
    assert (tiering.mode, tiering.prices, tiering.policy, tiering.gb_per_hour) == ("auto", OWN, Policy(), 0)


def test_everything_can_be_set_and_shown(tmp_path):
    settings = read(
        tmp_path,
        """
        [tiering]
        mode = "observe"
        prices = "rented"
        gb_per_hour = 50
        requests_per_hour = 1000
        money_per_day = 0.5
        backup_credentials = ["restic", "AKIA1"]
        check_interval = "1min"
        day_seconds = 2
        [tiering.price]
        waiting_usd_per_hour = 0
        name = "mine"
        [tiering.price.cold]
        storage_usd_per_gb_month = 0.005
        [tiering.policy]
        leave_days = 30
        brake_reads = 3
        """,
    )
    tiering = settings.tiering
    assert (tiering.mode, tiering.gb_per_hour, tiering.requests_per_hour, tiering.money_per_day) == (
        "observe", 50, 1000, 0.5,
    )  # fmt: skip
    assert tiering.backup_credentials == ("restic", "AKIA1")
    assert (tiering.check_interval, tiering.day_seconds) == (60, 2)
    assert tiering.prices.tier.hot == RENTED.tier.hot and tiering.prices.waiting_usd_per_hour == 0
    assert tiering.prices.tier.cold.storage_usd_per_gb_month == 0.005
    assert (tiering.policy.leave_days, tiering.policy.brake_reads) == (30, 3)
    assert again(tmp_path, settings).tiering == tiering


def test_a_price_book_may_be_a_file(tmp_path):
    (tmp_path / "book.toml").write_text(BOOK)
    settings = read(tmp_path, f'[tiering]\nprices = "{tmp_path}/book.toml"')
    assert settings.tiering.prices.currency == "EUR"
    assert again(tmp_path, settings).tiering == settings.tiering


def test_the_environment_may_say_it_too(tmp_path):
    settings = read(tmp_path, "", {"STRATUM_TIERING_MODE": "off", "STRATUM_TIERING_GB_PER_HOUR": "7.5"})
    assert (settings.tiering.mode, settings.tiering.gb_per_hour) == ("off", 7.5)


@pytest.mark.parametrize(
    "text",
    [
        '[tiering]\nmode = "sometimes"',
        '[tiering]\nprices = "/nowhere/book.toml"',
        "[tiering]\ngb_per_hour = -1",
        "[tiering]\nday_seconds = 0",
        "[tiering]\nbackup_credentials = 3",
        "[tiering.policy]\nleave_days = 0",
        "[tiering.policy]\nno_such = 1",
        "[tiering.policy]\nbound = 0.5",
        "[tiering.price.cold]\nstorage_usd_per_gb_month = -1",
        "[tiering.price.lukewarm]\nstorage_usd_per_gb_month = 1",
        "[tiering.price.hot]\nbandwidth_gb_per_s = 0",
    ],
)
def test_what_means_nothing_is_refused(tmp_path, text):
    with pytest.raises(BadSettings, match="tiering"):
        read(tmp_path, text)


def test_a_book_that_is_none_is_refused_with_its_name(tmp_path):
    (tmp_path / "book.toml").write_text("name = 3")
    with pytest.raises(BadSettings, match=r"book\.toml"):
        read(tmp_path, f'[tiering]\nprices = "{tmp_path}/book.toml"')
