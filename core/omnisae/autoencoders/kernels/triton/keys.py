"""Numbers as ordered integers, and the largest of those a program holds."""

import triton
import triton.language as tl

LEAST = tl.constexpr(-(2**31))
"""Below the key of every number: what stands where there is none."""
MOST = tl.constexpr(2**31 - 1)


@triton.jit
def keys(values: tl.tensor, SIGNED: tl.constexpr) -> tl.tensor:
    """Integers in the order of fp32 values (of their magnitudes where SIGNED). NaN comes first, so that it is seen."""
    if SIGNED:
        values = tl.abs(values)
    bits = values.to(tl.int32, bitcast=True)
    ordered = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    ordered = tl.where(values == 0, 0, ordered)  # minus zero is no less
    return tl.where(values == values, ordered, MOST)


@triton.jit
def largest(ordered: tl.tensor, count: tl.tensor) -> tl.tensor:
    """Which `count` of a program's keys are the largest; of equals the first.

    Bisects for a bound that exactly `count` keys reach, or for the greatest that at least so many do.
    """
    low = tl.full((), LEAST, tl.int64)
    high = tl.full((), MOST, tl.int64)
    while low < high:
        middle = low + (high - low + 1) // 2
        reach = tl.sum((ordered >= middle.to(tl.int32)).to(tl.int32), axis=0)
        low = tl.where(reach >= count, middle, low)
        high = tl.where(reach > count, high, tl.where(reach == count, middle, middle - 1))
    bound = low.to(tl.int32)
    over = ordered > bound
    equal = ordered == bound
    spare = count - tl.sum(over.to(tl.int32), axis=0)
    return over | (equal & (tl.cumsum(equal.to(tl.int32), axis=0) <= spare))
