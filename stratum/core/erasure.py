"""Reed-Solomon: from k data cells to m cells, and from any k of the m back to what is wanted.

Room: stratum/core. May import: core.isal.

Invariants
    E1  Systematic: cells 0..k-1 are the data itself, k..m-1 are parity. The generator matrix is zfec's, whichever
        library computes, so the bytes on disk are the same everywhere.
    E2  Indices, their number and the widths are checked here, before a library sees them: zfec accepts a wrong
        index, and a repeated one can hang it in C. That the bytes are the right ones is the caller's duty (every cell
        passed in has passed its checksum).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import zfec

from stratum.core import isal
from stratum.core.isal import Buffer

if TYPE_CHECKING:
    from ctypes import Array, c_char

MAX_SHARDS = 256


def encode(k: int, m: int, cells: Sequence[Buffer]) -> list[Buffer]:
    """Return the m - k parity cells of `cells`. Raises ValueError if they are not k cells of one width."""
    _check_code(k, m)
    if len(cells) != k:
        raise ValueError(f"{k} data cells needed, not {len(cells)}")
    _check_widths(cells)
    if m == k:
        return []
    library = isal.load()
    if library is None:
        return list(_zfec_encoder(k, m).encode(cells, tuple(range(k, m))))
    return list(library.multiply(_encode_tables(k, m), m - k, cells))


def decode(k: int, m: int, cells: Mapping[int, Buffer], wanted: Sequence[int]) -> list[Buffer]:
    """Return the cells with the indices `wanted`, from any k or more good ones.

    Raises ValueError if there are fewer than k cells, an index is not below m, or the widths differ.
    """
    _check_code(k, m)
    if not all(0 <= index < m for index in (*cells, *wanted)):
        raise ValueError(f"a shard index is not below {m}")
    if len(cells) < k:
        raise ValueError(f"{k} cells needed, not {len(cells)}")
    _check_widths(list(cells.values()))
    missing = tuple(sorted({index for index in wanted if index not in cells}))
    rebuilt: dict[int, Buffer] = {}
    if missing:
        survivors = tuple(sorted(cells)[:k])  # data first: fewest products
        rebuilt = dict(zip(missing, _solve(k, m, survivors, cells, missing), strict=True))
    return [cells[index] if index in cells else rebuilt[index] for index in wanted]


def _solve(
    k: int, m: int, survivors: tuple[int, ...], cells: Mapping[int, Buffer], missing: tuple[int, ...]
) -> list[Buffer]:
    chosen = [cells[index] for index in survivors]
    library = isal.load()
    if library is not None:
        return list(library.multiply(_decode_tables(k, m, survivors, missing), len(missing), chosen))
    data = _zfec_data(k, m, survivors, chosen)
    parity = tuple(index for index in missing if index >= k)
    computed = dict(zip(parity, _zfec_encoder(k, m).encode(data, parity), strict=True)) if parity else {}
    return [data[index] if index < k else computed[index] for index in missing]


def _zfec_data(k: int, m: int, survivors: tuple[int, ...], chosen: Sequence[Buffer]) -> list[Buffer]:
    # zfec wants a data cell that is present at the place of its own index
    places: list[int | None] = [index if index in survivors else None for index in range(k)]
    rest = iter(index for index in survivors if index >= k)
    order = [next(rest) if index is None else index for index in places]
    by_index = dict(zip(survivors, chosen, strict=True))
    return list(zfec.Decoder(k, m).decode([by_index[index] for index in order], order))


def _check_code(k: int, m: int) -> None:
    if not 1 <= k <= m <= MAX_SHARDS:
        raise ValueError(f"no such code: {k} of {m}")


def _check_widths(cells: Sequence[Buffer]) -> None:
    width = len(cells[0])
    if not width or any(len(cell) != width for cell in cells):
        raise ValueError("cells must have one width, not zero")


@lru_cache(maxsize=16)
def _zfec_encoder(k: int, m: int) -> "zfec.Encoder":
    return zfec.Encoder(k, m)


@lru_cache(maxsize=16)
def _generator(k: int, m: int) -> tuple[bytes, ...]:
    units = tuple(bytes(int(row == column) for column in range(k)) for row in range(k))
    return units + (tuple(zfec.Encoder(k, m).encode(units, tuple(range(k, m)))) if m > k else ())


@lru_cache(maxsize=16)
def _encode_tables(k: int, m: int) -> "Array[c_char]":
    return _library().tables(_generator(k, m)[k:])


@lru_cache(maxsize=512)
def _decode_tables(k: int, m: int, survivors: tuple[int, ...], missing: tuple[int, ...]) -> "Array[c_char]":
    library, generator = _library(), _generator(k, m)
    inverse = library.invert([generator[index] for index in survivors])
    return library.tables([library.row_times_matrix(generator[index], inverse) for index in missing])


def _library() -> isal.Isal:
    library = isal.load()
    assert library is not None, "tables are only built for a library that loaded"
    return library
