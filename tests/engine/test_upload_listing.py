"""Pages of uploads under way: those of a flat list, and nothing is read of what a common prefix stands for."""

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.records import Upload
from stratum.core.schema import upload_by_key, upload_key
from stratum.core.txn import save
from stratum.engine.uploads import _upload_page
from tests.fakes.txn import MemoryTxn

TEXTS = st.text("ab/", max_size=4).map(str.encode)


def filled(keys):
    txn = MemoryTxn()
    for number, key in enumerate(keys):
        name = f"id{number:03}"
        save(txn, upload_key(name), Upload(bucket="bucket", key=key, created=number, owner=""))
        save(txn, upload_by_key("bucket", key, name), 1)
        save(txn, upload_by_key("bucket2", key, name), 1)
    return txn


def flat(keys, prefix, delimiter):
    """What all pages together show, in order."""
    shown = []
    for key, name in sorted((key, f"id{number:03}") for number, key in enumerate(keys)):
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, b"", b"")
        if not key.startswith(prefix):
            continue
        entry = (prefix + head + delimiter, None) if found else (key, name)
        if entry not in shown:
            shown.append(entry)
    return shown


@given(
    keys=st.lists(TEXTS.filter(bool), max_size=12),
    prefix=TEXTS,
    delimiter=st.sampled_from([b"", b"/", b"ab"]),
    limit=st.integers(1, 4),
)
def test_pages_are_those_of_a_flat_list(keys, prefix, delimiter, limit):
    txn, shown, marker = filled(keys), [], (b"", "")
    for _ in range(len(keys) + 2):
        page = _upload_page(txn, "bucket", prefix, delimiter, marker, limit)
        entries = [(key, name) for key, name, _ in page.uploads] + [(each, None) for each in page.common_prefixes]
        assert len(entries) <= limit
        shown += sorted(entries, key=lambda entry: (entry[0], entry[1] or ""))
        if page.next_key is None:
            break
        marker = (page.next_key, page.next_upload or "")
    assert shown == flat(keys, prefix, delimiter)


def test_what_lies_below_a_common_prefix_is_not_read():
    txn = filled([b"a/%03d" % number for number in range(300)] + [b"b", b"c/x"])
    reads = 0
    scan = txn.scan

    def counted(start, stop):
        nonlocal reads
        for row in scan(start, stop):
            reads += 1
            yield row

    txn.scan = counted
    page = _upload_page(txn, "bucket", b"", b"/", (b"", ""), 10)
    assert (page.common_prefixes, [key for key, _, _ in page.uploads]) == ([b"a/", b"c/"], [b"b"])
    assert reads <= 4
    reads = 0
    page = _upload_page(txn, "bucket", b"", b"/", (b"a/", ""), 10)
    assert page.common_prefixes == [b"c/"]
    assert reads <= 4
