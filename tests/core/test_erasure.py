"""Erasure coding: any k cells give everything back, and both libraries write the same bytes.

Room: tests. May import: stratum.core.
"""

import pytest
import zfec
from hypothesis import given
from hypothesis import strategies as st

from stratum.core import isal
from stratum.core.erasure import decode, encode

CODES = [(4, 6), (3, 5), (2, 4), (1, 3), (1, 1), (2, 3), (8, 12)]


@st.composite
def stripes(draw):
    k, m = draw(st.sampled_from(CODES))
    width = draw(st.integers(1, 200) | st.sampled_from([4096, 4160]))
    seed = draw(st.binary(min_size=1, max_size=64))
    data = (seed * (k * width // len(seed) + 1))[: k * width]
    cells = [data[width * i : width * (i + 1)] for i in range(k)]
    alive = draw(st.permutations(range(m)).flatmap(lambda order: st.integers(k, m).map(lambda n: order[:n])))
    wanted = draw(st.lists(st.integers(0, m - 1), max_size=m))
    return k, m, cells, alive, wanted


@pytest.fixture(params=["isal", "zfec"], autouse=True)
def library(request, monkeypatch):
    if request.param == "zfec":
        monkeypatch.setattr(isal, "load", lambda: None)
    elif isal.load() is None:
        pytest.skip("ISA-L is not installed")


@given(stripes())
def test_parity_is_the_parity_of_zfec(stripe):
    k, m, cells, _, _ = stripe
    assert list(map(bytes, encode(k, m, cells))) == zfec.Encoder(k, m).encode(cells, tuple(range(k, m)))


@given(stripes())
def test_any_k_cells_give_any_cell_back(stripe):
    k, m, cells, alive, wanted = stripe
    everything = [*cells, *map(bytes, encode(k, m, cells))]
    rebuilt = decode(k, m, {index: everything[index] for index in alive}, wanted)
    assert list(map(bytes, rebuilt)) == [everything[index] for index in wanted]


@given(stripes())
def test_views_and_arrays_count_as_cells(stripe):
    k, m, cells, _, _ = stripe
    joined = bytearray(b"".join(cells))
    width = len(cells[0])
    views = [memoryview(joined)[width * i : width * (i + 1)] for i in range(k)]
    assert list(map(bytes, encode(k, m, views))) == list(map(bytes, encode(k, m, cells)))


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ({0: b"aa", 1: b"bb", 2: b"cc", 6: b"dd"}, [3]),
        ({0: b"aa", 1: b"bb", 2: b"cc", -1: b"dd"}, [3]),
        ({0: b"aa", 1: b"bb", 2: b"cc"}, [3]),
        ({0: b"aa", 1: b"bb", 2: b"cc", 4: b"d"}, [3]),
        ({0: b"", 1: b"", 2: b"", 4: b""}, [3]),
        ({0: b"aa", 1: b"bb", 2: b"cc", 4: b"dd"}, [6]),
    ],
)
def test_wrong_indices_counts_and_widths_never_reach_a_library(cells, wanted):
    with pytest.raises(ValueError):
        decode(4, 6, cells, wanted)


@pytest.mark.parametrize(("k", "m", "cells"), [(4, 6, [b"a"] * 3), (4, 6, [b"a", b"b", b"c", b"dd"]), (0, 2, [])])
def test_a_stripe_that_is_not_k_cells_of_one_width_is_refused(k, m, cells):
    with pytest.raises(ValueError):
        encode(k, m, cells)
