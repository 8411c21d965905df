"""The price of room: what a tier costs above its rent while it runs full.

Room: stratum/core. May import: nothing of ours.

A loop with a proportional and an integral part. Above FULL the price rises day by day until what is worth least there
has left; below ROOMY it falls again. In between it stays: so it settles at what the marginal volume is worth there,
which is what ranking all volumes by value per byte would find, without ranking them.
"""

FULL, ROOMY = 0.85, 0.70  # shares of the room that is taken
AT_ONCE = 20.0  # times the rent, for each share above FULL: three rents when nothing is left
A_DAY = 10.0  # times the rent, that the price gains a day for each share above FULL
KEPT = 0.5  # of the price, after a day below ROOMY
MOST = 50.0  # times the rent


def pressed(pressure: float, taken: float, days: float) -> float:
    """The integral part (in rents) after `days` in which `taken` of the room was taken."""
    if taken > FULL:
        return min(MOST, pressure + A_DAY * (taken - FULL) * days)
    if taken < ROOMY:
        left = pressure * float(KEPT**days)
        return left if left > 0.01 else 0.0
    return pressure


def shadow(pressure: float, taken: float, rent: float) -> float:
    """What a GB costs a day above the rent. `taken`: 0 to 1; negative: nobody knows, as of a remote tier."""
    return rent * (pressure + AT_ONCE * max(0.0, taken - FULL))
