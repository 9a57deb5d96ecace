"""exp, log and log1p in float32 written out, for compiled loops.

Cephes' polynomials, errors below 2e-7 relative: calls into a mathematical library would keep the
compiler from working on 16 numbers at once.
"""

import numpy as np

from sparseshift.compiled import inlined

f32 = np.float32
_LOG2E = f32(1.44269504)
_LN2_HIGH, _LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)
_HALF, _ONE = f32(0.5), f32(1.0)
_EXP = tuple(f32(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1))  # fmt: skip
_LOG = tuple(f32(c) for c in (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1))  # fmt: skip
_LOWEST = f32(-87.0)
_BIAS, _MANTISSA, _ROOT_HALF = np.int32(127), np.int32(23), np.int32(0x3F3504F3)
_SQRT2_LESS_1 = f32(0.41421356)


@inlined
def exp(x):  # type: ignore[no-untyped-def]
    """e^x of x <= 0; of x < -87 as of -87."""
    x = max(x, _LOWEST)
    n = np.int32(x * _LOG2E - _HALF)  # towards 0: to the nearest for x <= 0
    r = x - f32(n) * _LN2_HIGH - f32(n) * _LN2_LOW
    p = _EXP[0]
    p = p * r + _EXP[1]
    p = p * r + _EXP[2]
    p = p * r + _EXP[3]
    p = p * r + _EXP[4]
    p = p * r + _EXP[5]
    return (p * r * r + r + _ONE) * np.int32((n + _BIAS) << _MANTISSA).view(np.float32)


@inlined
def _log_of(e, f):  # type: ignore[no-untyped-def]  # log((1 + f) 2^e)
    z = f * f
    p = _LOG[0]
    p = p * f + _LOG[1]
    p = p * f + _LOG[2]
    p = p * f + _LOG[3]
    p = p * f + _LOG[4]
    p = p * f + _LOG[5]
    p = p * f + _LOG[6]
    p = p * f + _LOG[7]
    p = p * f + _LOG[8]
    return f + (f * z * p - _HALF * z + e * _LN2_LOW) + e * _LN2_HIGH


@inlined
def log(x):  # type: ignore[no-untyped-def]
    """Natural logarithm of x > 0, not subnormal."""
    bits = f32(x).view(np.int32)
    e = np.int32((bits - _ROOT_HALF) >> _MANTISSA)
    m = np.int32(bits - np.int32(e << _MANTISSA)).view(np.float32)
    return _log_of(f32(e), m - _ONE)


@inlined
def log1p(x):  # type: ignore[no-untyped-def]
    """Natural logarithm of 1 + x, x >= 0."""
    bits = f32(_ONE + x).view(np.int32)
    e = np.int32((bits - _ROOT_HALF) >> _MANTISSA)
    m = np.int32(bits - np.int32(e << _MANTISSA)).view(np.float32)
    small = x < _SQRT2_LESS_1  # 1 + x would lose its digits
    return _log_of(f32(0.0) if small else f32(e), x if small else m - _ONE)
