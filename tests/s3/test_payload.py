"""The body of a request: decoded, and everything that was promised of it checked."""

import base64
import hashlib
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.checksums import ALGORITHMS, Digests, encode_base64
from stratum.s3.errors import S3Error
from stratum.s3.payload import (
    STREAMING,
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED,
    open_payload,
)
from stratum.s3.sigv4 import Verified
from tests.s3.signing import Signer, encoded, request, seal

CONTENT = b"some content"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CRC32 = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode()
MD5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
LENGTH = {"content-length": str(len(CONTENT))}
DECODED = {"x-amz-decoded-content-length": str(len(CONTENT))}


class Body:
    """A request body in the given pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = iter(pieces)

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        for piece in self.pieces:
            return piece
        raise StopAsyncIteration


def payload_of(mode: str, headers: dict[str, str], *pieces: bytes, **options):
    verified = Verified(access_key="A", content_sha256=mode, seal=seal, presigned=options.pop("presigned", False))
    return open_payload(request("PUT", "/b/k", headers, Body(*pieces)), verified, **options)


async def taken(mode: str, headers: dict[str, str], *pieces: bytes, **options):
    """(content, checksum to store): what a handler does with a payload."""
    payload = payload_of(mode, headers, *pieces, **options)
    digests, content = Digests(payload.algorithms), b""
    async for piece in payload.body:
        digests.update(piece)
        content += piece
    return content, payload.check(digests.results(), len(content))


async def refused(mode: str, headers: dict[str, str], *pieces: bytes, **options) -> str:
    with pytest.raises(S3Error) as caught:
        await taken(mode, headers, *pieces, **options)
    return caught.value.code


GOOD = {
    "unsigned": (UNSIGNED, {**LENGTH, "x-amz-checksum-crc32": CRC32}, CONTENT),
    "signed": (SHA256, {**LENGTH, "x-amz-checksum-crc32": CRC32}, CONTENT),
    "chunks signed, checksum in a header": (
        STREAMING_SIGNED,
        {**DECODED, "x-amz-checksum-crc32": CRC32},
        encoded([CONTENT], signer=Signer()),
    ),
    "chunks and trailer signed": (
        STREAMING_SIGNED_TRAILER,
        {**DECODED, "x-amz-trailer": "x-amz-checksum-crc32"},
        encoded([CONTENT], signer=Signer(), trailer=f"x-amz-checksum-crc32:{CRC32}"),
    ),
    "unsigned chunks with a trailer": (
        STREAMING_UNSIGNED_TRAILER,
        {**DECODED, "x-amz-trailer": "x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm": "CRC32"},
        encoded([CONTENT], trailer=f"x-amz-checksum-crc32:{CRC32}"),
    ),
    "unsigned chunks without a trailer": (
        STREAMING_UNSIGNED_TRAILER,
        {**DECODED, "x-amz-checksum-crc32": CRC32},
        encoded([CONTENT]),
    ),
}
every_way = pytest.mark.parametrize("way", GOOD)


@every_way
async def test_the_content_comes_out_with_the_checksum_the_client_sent(way):
    content, checksum = await taken(*GOOD[way])
    assert (content, checksum.algorithm, checksum.value, checksum.kind) == (CONTENT, "crc32", CRC32, "FULL_OBJECT")


@every_way
async def test_a_wrong_checksum_is_a_bad_digest(way):
    mode, headers, body = GOOD[way]
    wrong = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    headers = {name: value.replace(CRC32, wrong) for name, value in headers.items()}
    if "trailer" in way and "without" not in way:
        signer = Signer() if mode == STREAMING_SIGNED_TRAILER else None
        body = encoded([CONTENT], signer=signer, trailer=f"x-amz-checksum-crc32:{wrong}")
    assert await refused(mode, headers, body) == "BadDigest"


@every_way
@pytest.mark.parametrize("length", ["11", "13", "0"])
async def test_a_length_other_than_declared_is_an_incomplete_body(way, length):
    mode, headers, body = GOOD[way]
    headers = {name: length if name.endswith("content-length") else value for name, value in headers.items()}
    assert await refused(mode, headers, body) == "IncompleteBody"


@every_way
async def test_content_md5_is_checked_in_every_mode(way):
    mode, headers, body = GOOD[way]
    assert (await taken(mode, {**headers, "content-md5": MD5}, body))[0] == CONTENT
    other = base64.b64encode(bytes(16)).decode()
    assert await refused(mode, {**headers, "content-md5": other}, body) == "BadDigest"
    assert await refused(mode, {**headers, "content-md5": "no md5"}, body) == "InvalidDigest"


@pytest.mark.parametrize("mode", STREAMING)
async def test_an_encoded_body_must_say_how_long_its_content_is(mode):
    trailer = {"x-amz-trailer": "x-amz-checksum-crc32"}
    assert await refused(mode, {**LENGTH, **trailer}) in ("MissingContentLength", "InvalidRequest")


async def test_a_plain_body_of_unknown_length_ends_where_http_says():
    assert (await taken(UNSIGNED, {"transfer-encoding": "chunked"}, CONTENT))[0] == CONTENT


async def test_no_length_at_all_is_no_body():
    assert await taken(UNSIGNED, {}, default_algorithm="") == (b"", None)


async def test_a_signed_payload_that_differs_is_named_so():
    assert await refused(hashlib.sha256(b"other").hexdigest(), LENGTH, CONTENT) == "XAmzContentSHA256Mismatch"


async def test_without_a_checksum_of_the_client_ours_is_stored():
    _, checksum = await taken(UNSIGNED, LENGTH, CONTENT)
    assert checksum.algorithm == "crc64nvme"
    assert payload_of(UNSIGNED, LENGTH).claimed is False


async def test_the_checksum_headers_of_complete_speak_of_something_else():
    headers = {**LENGTH, "x-amz-checksum-crc32": "AAAAAA==-3", "x-amz-checksum-type": "COMPOSITE"}
    assert await taken(SHA256, headers, CONTENT, checksums=False, default_algorithm="") == (CONTENT, None)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": CRC32, "x-amz-checksum-crc32c": CRC32},
        {"x-amz-checksum-crc32": CRC32, "x-amz-trailer": "x-amz-checksum-crc32"},
        {"x-amz-checksum-crc32": "!!"},
        {"x-amz-checksum-crc32": "AAAA"},
        {"x-amz-checksum-crc32": f"{CRC32},{CRC32}"},
        {"x-amz-checksum-crc7": CRC32},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": CRC32},
        {"x-amz-trailer": "x-amz-checksum-crc7"},
        {"x-amz-trailer": "content-type"},
        {"x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"},
    ],
)
@pytest.mark.parametrize("mode", [UNSIGNED, STREAMING_UNSIGNED_TRAILER])
async def test_checksum_headers_that_contradict_themselves_are_an_invalid_request(mode, headers):
    assert await refused(mode, {**LENGTH, **DECODED, **headers}, CONTENT) == "InvalidRequest"


@pytest.mark.parametrize("mode", [UNSIGNED, SHA256, STREAMING_SIGNED])
async def test_a_trailer_needs_a_mode_that_has_one(mode):
    headers = {**LENGTH, **DECODED, "x-amz-trailer": "x-amz-checksum-crc32"}
    assert await refused(mode, headers, CONTENT) == "InvalidRequest"


async def test_a_trailer_value_that_is_no_checksum_is_refused():
    headers = {**DECODED, "x-amz-trailer": "x-amz-checksum-crc32"}
    body = encoded([CONTENT], trailer="x-amz-checksum-crc32:nonsense")
    assert await refused(STREAMING_UNSIGNED_TRAILER, headers, body) == "InvalidRequest"


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("", "InvalidArgument"),
        ("x", "InvalidArgument"),
        (SHA256.upper(), "InvalidArgument"),
        ("STREAMING-UNSIGNED-PAYLOAD", "InvalidArgument"),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "NotImplemented"),
    ],
)
async def test_a_mode_we_do_not_know_is_refused(mode, code):
    assert await refused(mode, LENGTH, CONTENT) == code


@pytest.mark.parametrize("value", ["", "-1", "1e3", "0x1", "٣", "1" * 19, "12, 12"])
async def test_a_length_that_is_no_number_is_refused(value):
    assert await refused(UNSIGNED, {"content-length": value}) == "InvalidArgument"


async def test_a_plain_body_is_handed_through_as_it_is():
    body = Body(CONTENT)
    made = request("PUT", "/b/k", LENGTH, body)
    verified = Verified(access_key="A", content_sha256=SHA256, seal=seal)
    assert open_payload(made, verified).body is body


@given(st.data())
def test_cut_into_any_pieces_an_encoded_body_yields_the_same(data):
    import trio

    way = data.draw(st.sampled_from([name for name in GOOD if "chunks" in name]))
    mode, headers, body = GOOD[way]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    edges = [0, *cuts, len(body)]
    pieces = [body[low:high] for low, high in pairwise(edges)]

    async def run() -> None:
        assert (await taken(mode, headers, *pieces))[0] == CONTENT

    trio.run(run)


@every_way
async def test_a_body_that_ends_early_is_an_error_at_every_byte(way):
    mode, headers, body = GOOD[way]
    for at in range(len(body)):
        assert await refused(mode, headers, body[:at]) in ("IncompleteBody", "MalformedTrailerError")


# --- every algorithm --------------------------------------------------------------------------------------------


def value(algorithm: str, content: bytes = CONTENT) -> str:
    digests = Digests([algorithm])
    digests.update(content)
    return encode_base64(digests.results()[algorithm])


def in_header(algorithm: str, text: str) -> tuple[str, dict[str, str], bytes]:
    return UNSIGNED, {**LENGTH, f"x-amz-checksum-{algorithm}": text}, CONTENT


def in_trailer(algorithm: str, text: str) -> tuple[str, dict[str, str], bytes]:
    name = f"x-amz-checksum-{algorithm}"
    return STREAMING_UNSIGNED_TRAILER, {**DECODED, "x-amz-trailer": name}, encoded([CONTENT], trailer=f"{name}:{text}")


placed = pytest.mark.parametrize("placed", [in_header, in_trailer])


@placed
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_is_verified_and_stored(placed, algorithm):
    content, checksum = await taken(*placed(algorithm, value(algorithm)))
    assert (content, checksum.algorithm, checksum.value) == (CONTENT, algorithm, value(algorithm))
    assert await refused(*placed(algorithm, value(algorithm, b"other"))) == "BadDigest"


@placed
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_checksum_of_another_width_or_not_base64_is_an_invalid_request(placed, algorithm):
    for text in ("bad", "AAA=", value(algorithm) + "AAAA", value(algorithm)[:-1], "-" + value(algorithm)[1:]):
        assert await refused(*placed(algorithm, text)) == "InvalidRequest"


@placed
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kept", ["crc64nvme", "sha256"])
async def test_what_is_stored_may_be_another_than_what_is_verified(placed, algorithm, kept):
    for text, good in ((value(algorithm), True), (value(algorithm, b"other"), False)):
        mode, headers, body = placed(algorithm, text)
        payload = payload_of(mode, headers, body).storing(kept)
        digests = Digests(payload.algorithms)
        async for piece in payload.body:
            digests.update(piece)
        if not good:
            with pytest.raises(S3Error, match="BadDigest"):
                payload.check(digests.results(), len(CONTENT))
            continue
        stored = payload.check(digests.results(), len(CONTENT))
        assert (stored.algorithm, stored.value) == (kept, value(kept))
        assert (payload.sent().algorithm, payload.sent().value) == (algorithm, text) and payload.algorithm == algorithm


async def test_without_a_checksum_of_the_client_none_was_sent():
    payload = payload_of(UNSIGNED, LENGTH, CONTENT)
    assert payload.sent() is None and payload.algorithm == "" and payload.algorithms == {"crc64nvme"}


@pytest.mark.parametrize("others", [("sha1",), ("md5", "xxhash3"), tuple(ALGORITHMS)])
async def test_more_than_one_checksum_is_refused_in_headers_and_beside_a_trailer(others):
    headers = {f"x-amz-checksum-{name}": value(name) for name in others}
    mode, more, body = in_trailer("crc32", value("crc32"))
    assert await refused(mode, {**headers, **more}, body) == "InvalidRequest"
    mode, more, body = in_header("crc32c", value("crc32c"))
    assert await refused(mode, {**headers, **more}, body) == "InvalidRequest"
