"""What S3 clients may send, drawn with a taste for the nasty: keys, prefixes, delimiters.

Room: tests. May import: stratum.core.
"""

from hypothesis import settings
from hypothesis import strategies as st

from stratum.core.names import KEY_BYTES

# Few different parts, so that keys meet: as siblings, as parents, and just around the slash (`-` < `.` < `/` < `0`).
PARTS = ["", "a", "b", "a-b", "a.b", "a0", "a\x00", ".", "..", "é", "😀", "\x7f", "%file%a", "\uffff", "l" * 300]

parts = st.sampled_from(PARTS[:10]) | st.sampled_from(PARTS) | st.text(max_size=4)
"""One component of a key; a slash drawn inside it just makes one more."""

keys = (
    st.lists(parts, min_size=1, max_size=5)
    .map(lambda names: "/".join(names).encode())
    .filter(lambda key: 1 <= len(key) <= KEY_BYTES)
)
"""Valid keys: 1 to 1024 bytes of UTF-8."""

extreme_keys = st.sampled_from(
    [
        b"/" * KEY_BYTES,
        b"a" * KEY_BYTES,
        b"a" * (KEY_BYTES - 1) + b"/",
        b"/" + b"a" * (KEY_BYTES - 1),
        b"a/" * (KEY_BYTES // 2),
        "😀".encode() * (KEY_BYTES // 4),
    ]
)
"""Valid keys at the limits of length and depth."""

any_keys = st.integers(0, 9).flatmap(lambda die: keys if die else extreme_keys)
"""Valid keys, now and then an extreme one (a thousand directories take their time)."""

unhurried = settings(deadline=None)
"""For tests whose examples differ much in size: how long one takes on a busy machine says nothing."""

prefixes = st.just(b"") | keys | st.builds(lambda key, size: key[:size], keys, st.integers(1, 12))
"""What a listing may be narrowed to: nothing, a key, the start of a key (perhaps cut inside a character)."""

delimiters = st.sampled_from([b"", b"/", b"/", b"/", b"a", b"//", b"-", b"b/", b"\x00", "é".encode(), "é".encode()[1:]])
"""What a listing may be grouped by: mostly a slash, but any string."""

file_names = (
    st.sampled_from(["a", "b", "a-b", "a.b", "%file%a", "%file%..", "%dir%", "%file%%00"]).map(str.encode)
    | st.binary(min_size=1, max_size=8)
).filter(lambda name: name not in (b".", b"..") and not {b"/"[0], 0} & set(name))
"""Names that a program may use in the mount: any bytes but a slash and zero."""
