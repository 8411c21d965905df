"""The table `[tiering]` of the settings: who decides about tiers, by which prices, how fast.

Room: stratum/serve. May import: core.tiering, serve.settings_values.

    [tiering]             mode = "auto"              (or "observe": decide and explain, move nothing; or "off")
                          prices = "own"             (or "rented", or the path of a price book, TOML)
                          gb_per_hour = 0            requests_per_hour = 0      money_per_day = 0       (0: no bound)
                          backup_credentials = ["AKIA..."]   (access keys, user names or ids: what they read is a sweep)
                          check_interval = "30s"     (between two looks at the clock)
                          day_seconds = 86400        (less for tests and staging only)
    [tiering.price]       waiting_usd_per_hour = 1.0   currency = "EUR"   name = "mine"   (figures that differ from
    [tiering.price.cold]  storage_usd_per_gb_month = 0.005                                those of `prices`)
    [tiering.policy]      leave_days = 60            (every number of core/tiering/policy.py)

Those of the first table have environment variables.
"""

import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from stratum.core.tiering.books import BOOKS, OWN
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS, PriceBook, TierPrice
from stratum.core.tiering.settings import MODES, Tiering
from stratum.serve.settings_values import Malformed, parse_path, parse_seconds

PREFIX = "tiering."
_BOOK_FIELDS = tuple(name for name in PriceBook.__struct_fields__ if name != "tier")
_POLICY_FIELDS = tuple(name for name in Policy.__struct_fields__ if name not in ("name", "version"))


def _mode(value: object) -> str:
    if value not in MODES:
        raise Malformed(f"{value!r} is not one of {', '.join(MODES)}")
    return str(value)


def _number(value: object) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise Malformed(f"{value!r} is not a number") from None
    if not 0 <= number < math.inf:
        raise Malformed(f"{value!r} must not be below zero")
    return number


def _names(value: object) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise Malformed(f"{value!r} is not a list of words")
    return tuple(word.strip() for word in words if word.strip())


def _book(value: object) -> PriceBook:
    """A book of the product by name, or one in a file."""
    if isinstance(value, str) and value in BOOKS:
        return BOOKS[value]
    path = parse_path(value)
    try:
        return msgspec.convert(tomllib.loads(Path(path).read_text("utf-8")), PriceBook)
    except OSError as error:
        raise Malformed(f"{value!r} is neither {' nor '.join(BOOKS)}, nor a file: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise Malformed(f"{path}: {error}") from error


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise Malformed(f"{value!r} is not printable text")
    return value


PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "tiering.mode": _mode,
    "tiering.prices": _book,
    "tiering.gb_per_hour": _number,
    "tiering.requests_per_hour": _number,
    "tiering.money_per_day": _number,
    "tiering.backup_credentials": _names,
    "tiering.check_interval": parse_seconds,
    "tiering.day_seconds": parse_seconds,
}


def parser_of(key: str) -> Callable[[Any], Any] | None:
    """How the value of a key of the inner tables is read; None: it is no such key."""
    table, _, name = key.rpartition(".")
    if table == "tiering.policy" and name in _POLICY_FIELDS:
        return _number
    if table == "tiering.price" and name in _BOOK_FIELDS:
        return _text if name in ("name", "date", "currency") else _number
    tier = table.removeprefix("tiering.price.")
    return _number if tier in TIERS and name in TierPrice.__struct_fields__ else None


def take_tiering(parsed: dict[str, Any]) -> Tiering:
    """Take the keys of these tables out of `parsed`. Raises Malformed."""
    found = {key.removeprefix(PREFIX): parsed.pop(key) for key in [key for key in parsed if key.startswith(PREFIX)]}
    book = msgspec.to_builtins(found.pop("prices", OWN))
    policy: dict[str, Any] = {}
    for key in [key for key in found if "." in key]:
        table, _, name = key.rpartition(".")
        value = found.pop(key)
        if table == "policy":
            policy[name] = value
        elif table == "price":
            book[name] = value
        else:
            book["tier"][table.removeprefix("price.")][name] = value
    try:
        return Tiering(
            prices=msgspec.convert(book, PriceBook),
            policy=msgspec.convert(policy, Policy, strict=False),
            **found,
        )
    except (ValueError, msgspec.ValidationError) as error:
        raise Malformed(f"tiering: {error}") from error


def as_keys(tiering: Tiering) -> dict[str, object]:
    """Everything by key, as values a file could hold. A book from a file is shown with its figures."""
    book, known = tiering.prices, BOOKS.get(tiering.prices.name) == tiering.prices
    found: dict[str, object] = {
        "tiering.mode": tiering.mode,
        "tiering.prices": book.name if known else OWN.name,
        "tiering.gb_per_hour": tiering.gb_per_hour,
        "tiering.requests_per_hour": tiering.requests_per_hour,
        "tiering.money_per_day": tiering.money_per_day,
        "tiering.backup_credentials": list(tiering.backup_credentials),
        "tiering.check_interval": tiering.check_interval,
        "tiering.day_seconds": tiering.day_seconds,
    }
    if not known:
        found |= {f"tiering.price.{name}": getattr(book, name) for name in _BOOK_FIELDS}
        for tier, price in zip(TIERS, book.tiers, strict=True):
            found |= {f"tiering.price.{tier}.{name}": value for name, value in msgspec.structs.asdict(price).items()}
    defaults = Policy()
    changed = {
        name: value for name in _POLICY_FIELDS if (value := getattr(tiering.policy, name)) != getattr(defaults, name)
    }
    return found | {f"tiering.policy.{name}": value for name, value in changed.items()}
