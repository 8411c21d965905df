"""What a volume is to its users: whose bytes it holds, what they wish, which group it is read like.

Room: stratum/engine. May import: core, engine.configurations. Looking is no access (law 12).

A volume may hold many small objects. Then the wish for speed wins: a pin to hot, a hint `hot`, an hour, no-cold or a
latency of one of them holds for all; a pin to a colder tier, a hint `cold` or a last day only if all of them say so.
A look takes in USERS of them, and what a survey of all (engine.tiering_survey) found lately.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import islice
from typing import NamedTuple

from stratum.core import intelligent_tiering
from stratum.core.config import Settings
from stratum.core.errors import NotFound
from stratum.core.inodes import get_inode
from stratum.core.intelligent_tiering import TieringConfigurations
from stratum.core.manifest import INODE_USER, content_users, volume_users
from stratum.core.namespace import path_of
from stratum.core.objects import ObjectView
from stratum.core.records import Inode, Volume
from stratum.core.schema import inode_key, xattr_key
from stratum.core.tiering.hints import NOTHING_HINTED, Hints, parsed
from stratum.core.tiering.prices import COLD, HOT, TIERS, PriceBook
from stratum.core.tiering.settings import AUTO, KIND, NOTHING_SAID, OBSERVE, OFF, BucketTiering
from stratum.core.tiering.situation import Wishes
from stratum.core.tiers import HOLDER, SHOWN, STORED, route, stream_bytes
from stratum.core.txn import Txn, load
from stratum.engine.configurations import configuration

SURVEYED = 20_000  # volumes whose surveys are remembered
WORDS = 8  # kept of a survey, for people
USERS = 24  # contents of a volume that are looked at: a look takes at most a millisecond
PIN, HINT = "stratum-pin", "stratum-hint"
PIN_ROW, HINT_ROW = b"user.stratum.pin", b"user.stratum.hint"
UNKNOWN = "(none)"

Classify = Callable[[ObjectView], str]


@dataclass(frozen=True, slots=True)
class Subject:
    """A volume as decisions see it."""

    number: int
    record: Volume
    gb: float
    tier: int
    mode: str  # auto, observe or off: the most careful of its buckets
    wishes: Wishes
    said: tuple[str, ...]  # what wishes were found, for people
    view: ObjectView | None  # of one of its users, the first
    backend: str = ""  # the cold one it is routed to

    @property
    def group(self) -> tuple[str, str]:
        """Bucket and prefix; the type is the classifier's word."""
        if self.view is None:
            return "", ""
        head, slash, _ = self.view.key.partition(b"/")
        return self.view.bucket, head.decode(errors="replace") if slash else ""


@dataclass(frozen=True, slots=True)
class Said:
    """What one object or its bucket says; or several of them together."""

    hints: Hints = NOTHING_HINTED
    hinted: int = 0
    coldest: int = COLD
    hottest: int = HOT
    mode: str = ""
    words: tuple[str, ...] = ()
    cold_after: int = 0


class Survey(NamedTuple):
    """What all users of a volume said on a day; None: there were none."""

    day: int
    said: Said | None


def together(said: Sequence[Said]) -> Said | None:
    """What several say, as one: the wish for speed of any of them, the wish to be colder of all."""
    return reduce(_both, said) if said else None


def _both(a: Said, b: Said) -> Said:
    ends = max(a.hints.expires, b.hints.expires) if a.hints.expires and b.hints.expires else 0
    hints = NOTHING_HINTED
    hot, cold = a.hints.hot or b.hints.hot, a.hints.cold and b.hints.cold
    if hot or cold or ends or a.hints.schedule or b.hints.schedule:
        hints = Hints(hot=hot, cold=cold, expires=ends, schedule=a.hints.schedule | b.hints.schedule)
    return Said(
        hints=hints,
        hinted=max((each.hinted for each in (a, b) if each.hints.hot), default=0),
        coldest=min(a.coldest, b.coldest),
        hottest=min(a.hottest, b.hottest),
        mode=next((mode for mode in (OFF, OBSERVE) if mode in (a.mode, b.mode)), a.mode or b.mode),
        words=a.words if a.words == b.words else tuple(dict.fromkeys((*a.words, *b.words)))[:WORDS],
        cold_after=max(a.cold_after, b.cold_after),
    )


def type_of(view: ObjectView) -> str:
    """The type of an object by its Content-Type, else by what its name ends in."""
    stored = view.inode.headers.get("content-type", "").partition(";")[0].strip().lower()
    if stored not in ("", "binary/octet-stream", "application/octet-stream"):
        return stored
    name = view.key.rpartition(b"/")[2]
    _, dot, ending = name.rpartition(b".")
    return "." + ending.decode(errors="replace").lower() if dot and 0 < len(ending) <= 8 else UNKNOWN


class Subjects:
    """Finds out about volumes, inside a query."""

    def __init__(self, settings: Settings, there: Sequence[bool], day_of: Callable[[int], int]) -> None:
        """`there`: which tiers exist, hot first; `day_of`: of a time, ns."""
        self._settings = settings
        self._coldest = max(at for at, exists in enumerate(there) if exists)
        self._day_of = day_of
        self._classes = dict(settings.storage_classes)
        self.surveyed: OrderedDict[int, Survey] = OrderedDict()
        self.on_schedule: Callable[[int, frozenset[int]], None] = lambda volume, hours: None  # wants to know of hours

    def of(self, txn: Txn, number: int, record: Volume, asked: ObjectView | None = None) -> Subject:
        """Look at a volume and at some of its users, `asked` among them, and at what all of them said lately."""
        views = list(_users(txn, number))
        said = [self.said_of(txn, view) for view in views]
        if asked is not None and all(asked.inode_number != view.inode_number for view in views):
            said.append(self.said_of(txn, asked))
        survey = self.surveyed.get(number)
        if survey is not None and survey.said is not None:
            said.append(survey.said)
        found = together(said) or Said()
        store = self._settings.tiering.mode
        mode = found.mode or store
        first = views[0] if views else None
        hints = found.hints
        if survey is not None or len(views) < USERS:  # else there may be hours that this look does not see
            self.on_schedule(number, hints.schedule)
        return Subject(
            number=number,
            record=record,
            gb=stream_bytes(record) / 1e9,
            tier=TIERS.index(SHOWN[record.tier]),
            mode=next((each for each in (OFF, OBSERVE) if each in (store, mode)), AUTO),
            wishes=Wishes(
                hint="hot" if hints.hot else "cold" if hints.cold else "",
                hinted=found.hinted if hints.hot else 0,
                coldest=TIERS[found.coldest],  # tiers that are not there are priced out of reach
                hottest=TIERS[min(found.coldest, found.hottest)],
                cold_after=found.cold_after,
                expires=hints.expires,
                schedule=hints.schedule,
            ),
            said=tuple(dict.fromkeys(word for each in said for word in each.words)),
            view=first,
            backend=self._route(first) if first is not None else "",
        )

    def _route(self, view: ObjectView) -> str:
        return route(self._settings.routes, view.bucket, view.key, view.inode.tags, view.inode.metadata)

    def note_survey(self, number: int, day: int, said: Said | None) -> None:
        """What all users of a volume say."""
        self.surveyed[number] = Survey(day, said)
        self.surveyed.move_to_end(number)
        if len(self.surveyed) > SURVEYED:
            self.surveyed.popitem(last=False)

    def said_of(self, txn: Txn, view: ObjectView) -> Said:
        """What an object says, and its bucket."""
        bucket = configuration(txn, view.bucket, KIND, BucketTiering) or NOTHING_SAID
        found = self._of_bucket(bucket)
        inode, number = view.inode, view.inode_number
        hints = parsed(_word(txn, inode, number, HINT, HINT_ROW))
        found = self._hinted(found, hints)
        pin = _word(txn, inode, number, PIN, PIN_ROW) or hints.pin
        if pin in TIERS:
            at = min(TIERS.index(pin), self._coldest)
            found = replace(found, coldest=at, hottest=at, words=(*found.words, f"pinned to {pin}"))
        elif inode.storage_class and inode.storage_class in self._classes:
            at = TIERS.index(SHOWN[STORED[self._classes[inode.storage_class]]])
            found = replace(found, coldest=at, hottest=at, words=(*found.words, f"class {inode.storage_class}"))
        elif inode.storage_class == intelligent_tiering.STORAGE_CLASS:
            found = _of_class(txn, view, found)
        words = [f"hint {word}" for word in hints.words if not word.startswith("pin=")]
        words += [f"hint {word} not understood" for word in hints.wrong[:4]]
        return replace(found, hints=hints, hinted=self._day_of(inode.ctime), words=(*found.words, *words))

    def _hinted(self, found: Said, hints: Hints) -> Said:
        """With the orders among the hints: not cold, not too slow."""
        if hints.no_cold:
            found = replace(found, coldest=min(found.coldest, COLD - 1))
        if hints.max_latency_ms:
            coldest = min(found.coldest, _within(self._settings.tiering.prices, hints.max_latency_ms))
            found = replace(found, coldest=coldest, hottest=min(found.hottest, coldest))
        return found

    def _of_bucket(self, bucket: BucketTiering) -> Said:
        words: list[str] = []
        coldest, hottest = COLD, HOT
        if bucket.no_cold:
            coldest, words = COLD - 1, [*words, "no-cold by its bucket"]
        if bucket.max_latency_ms:
            coldest = min(coldest, _within(self._settings.tiering.prices, bucket.max_latency_ms))
            words = [*words, f"max-latency {bucket.max_latency_ms:g} ms by its bucket"]
        if bucket.pin:
            coldest = hottest = min(TIERS.index(bucket.pin), self._coldest)
            words = [*words, f"pinned to {bucket.pin} by its bucket"]
        return Said(coldest=coldest, hottest=hottest, mode=bucket.mode, words=tuple(words))


def _of_class(txn: Txn, view: ObjectView, found: Said) -> Said:
    """What the bucket's Intelligent-Tiering configurations say of an object of that class (decision 0011)."""
    stored = configuration(txn, view.bucket, intelligent_tiering.KIND, TieringConfigurations)
    days = intelligent_tiering.cold_after(stored, view.key, view.inode.tags) if stored is not None else 0
    if not days:
        return found
    words = (*found.words, f"class {intelligent_tiering.STORAGE_CLASS}: cold after {days} days without a read")
    return replace(found, cold_after=days, words=words)


def _within(book: PriceBook, milliseconds: float) -> int:
    """The coldest tier whose first byte, and those of all hotter ones, come in time. Hot in any case."""
    found = HOT
    for at, price in enumerate(book.tiers):
        if price.first_byte_ms > milliseconds:
            break
        found = at
    return found


def _word(txn: Txn, inode: Inode, number: int, name: str, row: bytes) -> str:
    """What a user set: in metadata (of S3, or as attribute of a file), by a tag, or as an attribute of its own row."""
    found = inode.metadata.get(name) or inode.tags.get(name)
    if not found:
        raw = load(txn, xattr_key(number, row), bytes)
        found = raw.decode(errors="replace") if raw else ""
    return found.strip().lower()


def _users(txn: Txn, number: int) -> list[ObjectView]:
    found: list[ObjectView] = []
    for content, _ in islice(volume_users(txn, number), USERS):
        if content < HOLDER:
            found += views_of_content(txn, content)
        if len(found) >= USERS:
            break
    return found


def views_of_content(txn: Txn, content: int) -> Iterator[ObjectView]:
    """Some of the objects that a content is of."""
    for kind, number in islice(content_users(txn, content), USERS):
        view = view_of_inode(txn, number) if kind == INODE_USER else None
        if view is not None:
            yield view


def view_of_inode(txn: Txn, number: int) -> ObjectView | None:
    """An inode as the object it is, under the last name it had; None: it has none any more."""
    inode = load(txn, inode_key(number), Inode)
    if inode is None or not inode.parent:
        return None
    try:
        root, prefix = path_of(txn, inode.parent)
        bucket = get_inode(txn, root).name.removesuffix(b"/").decode()
    except NotFound:
        return None
    return ObjectView(bucket=bucket, key=prefix + inode.name, inode_number=number, inode=inode)
