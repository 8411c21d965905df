"""Intel's ISA-L, if the machine has it: the same Reed-Solomon as zfec, about fifty times faster.

Room: stratum/core. May import: nothing (ctypes only).

This module trusts its caller; `core.erasure` checks indices and widths before it calls. Calls release the GIL.
"""

import ctypes
from collections.abc import Sequence
from functools import lru_cache

Buffer = bytes | bytearray | memoryview

_LIBRARY = "libisal.so.2"
_TABLE_BYTES = 32  # of ec_init_tables, per coefficient


class _View(ctypes.Structure):
    """CPython's Py_buffer."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("owner", ctypes.c_void_p),
        ("length", ctypes.c_ssize_t),
        ("item_size", ctypes.c_ssize_t),
        ("read_only", ctypes.c_int),
        ("dimensions", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("sub_offsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(_View), ctypes.c_int)
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.POINTER(_View),)
_release_buffer.restype = None


class Isal:
    """The four calls of the library that erasure coding needs."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._encode = library.ec_encode_data
        self._encode.argtypes = (ctypes.c_int,) * 3 + (ctypes.c_void_p,) * 3
        self._encode.restype = None
        self._init_tables = library.ec_init_tables
        self._init_tables.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._init_tables.restype = None
        self._invert = library.gf_invert_matrix
        self._invert.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
        self._multiply = library.gf_mul
        self._multiply.argtypes = (ctypes.c_ubyte, ctypes.c_ubyte)
        self._multiply.restype = ctypes.c_ubyte

    def tables(self, rows: Sequence[bytes]) -> "ctypes.Array[ctypes.c_char]":
        """Expand matrix rows of equal length for `multiply`."""
        width = len(rows[0])
        tables = ctypes.create_string_buffer(_TABLE_BYTES * width * len(rows))
        self._init_tables(width, len(rows), b"".join(rows), tables)
        return tables

    def invert(self, rows: Sequence[bytes]) -> list[bytes]:
        """Return the inverse of a square matrix over GF(256)."""
        size = len(rows)
        matrix = ctypes.create_string_buffer(b"".join(rows), size * size)
        inverse = ctypes.create_string_buffer(size * size)
        singular = self._invert(matrix, inverse, size)
        assert not singular, "any k rows of the generator are independent"
        return [inverse.raw[size * row : size * (row + 1)] for row in range(size)]

    def row_times_matrix(self, row: bytes, matrix: Sequence[bytes]) -> bytes:
        """Return a vector times a matrix over GF(256)."""
        product = bytearray(len(matrix[0]))
        for factor, line in zip(row, matrix, strict=True):
            for column, value in enumerate(line):
                product[column] ^= self._multiply(factor, value)
        return bytes(product)

    def multiply(self, tables: "ctypes.Array[ctypes.c_char]", rows: int, cells: Sequence[Buffer]) -> list[memoryview]:
        """Return `rows` cells: the matrix behind `tables` times `cells` (contiguous, of one width)."""
        width = len(cells[0])
        product = memoryview(bytearray(width * rows))
        views = [_View() for _ in range(len(cells) + 1)]
        held = 0
        try:
            for view, cell in zip(views, (product, *cells), strict=True):
                _get_buffer(cell, view, 0)
                held += 1
            target = views[0].address
            sources = (ctypes.c_void_p * len(cells))(*[view.address for view in views[1:]])
            targets = (ctypes.c_void_p * rows)(*[target + width * row for row in range(rows)])
            self._encode(width, len(cells), rows, tables, sources, targets)
        finally:
            for view in views[:held]:
                _release_buffer(view)
        return [product[width * row : width * (row + 1)].toreadonly() for row in range(rows)]


@lru_cache(maxsize=1)
def load() -> Isal | None:
    """Return the library, or None if this machine does not have it."""
    try:
        return Isal(ctypes.CDLL(_LIBRARY))
    except (OSError, AttributeError):
        return None
