"""The arithmetic of the rule over numpy columns, so that replay runs the production rule on many units at once.

Room: stratum/serve. May import: core.tiering.

Every operation rounds as Python's does (docs/decisions/0013); a property test compares the bits.
"""

import numpy as np

from stratum.core.tiering.arithmetic import Arithmetic, Column


class _Columns:
    """Many numbers at a time."""

    def where(self, condition: Column, yes: Column, no: Column) -> Column:
        return np.where(condition, yes, no)

    def smaller(self, a: Column, b: Column) -> Column:
        return np.minimum(a, b)

    def larger(self, a: Column, b: Column) -> Column:
        return np.maximum(a, b)

    def divided(self, a: Column, b: Column) -> Column:
        positive = np.asarray(b) > 0
        with np.errstate(over="ignore"):  # infinite, as of Python's floats
            return np.where(positive, a / np.where(positive, b, 1.0), np.inf)

    def denied(self, condition: Column) -> Column:
        return np.logical_not(condition)

    def some(self, condition: Column) -> bool:
        return bool(np.any(condition))


COLUMNS: Arithmetic = _Columns()
