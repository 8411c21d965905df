"""A seeded synthetic archive: an inventory and its reads, in the formats of `stratum replay`.

    python contrib/tiering/generator.py --seed 1 --days 90 --objects 5000 --out /tmp/archive

What goes in, by the mix of prefixes below (docs/tiering.md, "What was tuned on what"):
  sizes       log-normal, median 84 MB, p90 0.6 GB; one prefix of ~2 kB side files
  popularity  Zipf over the objects of a prefix, alpha 0.7, 0.9 or 1.1
  age         rate falls as (1 + age)^-1.2 after creation; some prefixes are created along the way
  one-timers  60 % of the objects of a prefix are read on at most one day
  sweeps      some prefixes are read whole every 7 to 30 days
  crowds      0.1 % of the objects get 10 to 20 times their rate for 2 days
  weekdays    Mon..Sun 1.06 1.18 1.21 1.07 .96 .81 .71
  partial     10 % of the reads bring a part, 1 % to 50 %
  silence     one prefix begins after three silent weeks, one ends in the middle
"""

import csv
import random
from datetime import date, timedelta
from pathlib import Path

import click

FIRST = date(2026, 1, 5)  # a Monday
WEEK = (1.06, 1.18, 1.21, 1.07, 0.96, 0.81, 0.71)

# name, reads per object and day, Zipf alpha, created along the way, days between sweeps, silent days,
# ends early, kB files
PREFIXES = (
    ("popular", 0.30, 0.9, False, 0, 0, False, False),
    ("archive", 0.004, 0.7, False, 0, 0, False, False),
    ("fresh", 0.05, 0.9, True, 0, 0, False, False),
    ("crawled", 0.01, 0.7, False, 14, 0, False, False),
    ("backup", 0.0, 0.7, False, 30, 0, False, False),
    ("awakening", 0.08, 1.1, False, 0, 21, False, False),
    ("ending", 0.15, 0.9, False, 0, 0, True, False),
    ("side", 0.02, 0.9, False, 0, 0, False, True),
    ("busy", 3.0, 1.1, False, 0, 0, False, False),
)  # fmt: skip
TYPES = ("application/x-nwb", "video/mp4", "application/json", "image/tiff")


def archive(seed, days, objects):
    """Rows of the inventory, and of the events."""
    rng = random.Random(seed)
    inventory, events = [], []
    each = max(20, objects // len(PREFIXES))
    for prefix in PREFIXES:
        _prefix(rng, prefix, each, days, inventory, events)
    events.sort()
    return inventory, events


def _prefix(rng, prefix, count, days, inventory, events):
    name, mean, alpha, along, sweep, silent, ends, tiny = prefix
    weights = [1 / (rank + 1) ** alpha for rank in range(count)]
    scale = mean * count / sum(weights)
    rng.shuffle(weights)
    for number in range(count):
        size = rng.randrange(300, 4000) if tiny else max(1, int(rng.lognormvariate(0, 1.53) * 84e6))
        born = rng.randrange(days) if along else 0
        key = f"{name}/{number:06}.bin"
        inventory.append((key, size, f"{FIRST + timedelta(days=born)}T00:00:00Z", rng.choice(TYPES)))
        once = rng.random() < 0.6 and name not in ("busy", "popular")
        crowd = rng.randrange(born, days) if rng.random() < 0.001 else days
        rate, seen = scale * weights[number], False
        for day in range(born + (0 if along else silent), days):
            if ends and day > days // 2:
                break
            today = rate * WEEK[day % 7] * ((1 + day - born) ** -1.2 * 10 if along else 1.0)
            today *= rng.uniform(10, 20) if crowd <= day < crowd + 2 else 1.0
            swept = bool(sweep) and (day + 3) % sweep == 0 and rng.random() < 0.95
            reads = swept + (0 if once and seen else _poisson(rng, today))
            seen = seen or reads > swept
            if reads:
                part = rng.uniform(0.01, 0.5) if reads == 1 and not swept and rng.random() < 0.1 else 1.0
                events.append((f"{FIRST + timedelta(days=day)}T12:00:00Z", key, "GET", int(reads * size * part)))


def _poisson(rng, mean):
    found, left = 0, rng.expovariate(1.0)
    while left < mean:
        found += 1
        left += rng.expovariate(1.0)
    return found


@click.command()
@click.option("--seed", default=1, show_default=True)
@click.option("--days", default=90, show_default=True)
@click.option("--objects", default=5000, show_default=True)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
def main(seed, days, objects, out):
    """Write inventory.csv and events.csv into the folder OUT."""
    inventory, events = archive(seed, days, objects)
    out.mkdir(parents=True, exist_ok=True)
    for file, header, rows in (
        ("inventory.csv", ("object", "size_bytes", "created", "content_type"), inventory),
        ("events.csv", ("time", "object", "op", "bytes"), events),
    ):
        with (out / file).open("w", newline="") as target:
            csv.writer(target).writerows([header, *rows])


if __name__ == "__main__":
    main()
