/* exp and tanh of whole vectors, and what is made of them. They call no library, so that each instruction
   set gives the same bits. Errors are a few units in the last place; NaN stays NaN.

   Both begin alike. y is n ln 2 + r with a whole n and |r| <= ln 2 / 2, so that exp(y) is
   2^n (1 + p) with p = exp(r) - 1, which is a short Taylor series. */

#if BITS == 32
typedef uint32_t NAME(ints) VECTOR(VECTOR_BYTES);
#define MANTISSA_BITS 23
#define LN2_HIGH 0.693359375f /* few digits, so that n * LN2_HIGH is exact */
#define LN2_LOW -2.12194440054690581e-4f
#define LOWEST -87.0f /* exp of less would be a subnormal number */
#define TAYLOR_TERMS 7
#else
typedef uint64_t NAME(ints) VECTOR(VECTOR_BYTES);
#define MANTISSA_BITS 52
#define LN2_HIGH 6.93147180369123816490e-1
#define LN2_LOW 1.90821492927058770002e-10
#define LOWEST -708.0
#define TAYLOR_TERMS 13
#endif

/* 2^n and p, of which exp(y) = 2^n (1 + p). */
typedef struct {
    NAME(vec) scale, p;
} NAME(power);

/* For y <= 0. What is below LOWEST counts as LOWEST. */
ALWAYS_INLINE NAME(power) NAME(power_of)(NAME(vec) y)
{
    /* 1 / k!, of which the series takes those up to k = TAYLOR_TERMS. */
    static const double inverse_factorial[14] = {
        1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
        1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    /* The sum of this and a small number has the number, rounded, in the lowest bits of its mantissa. */
    const NAME(vec) shift = NAME(splat)((real)1.5 * (real)(INT64_C(1) << MANTISSA_BITS));
    const NAME(vec) one = NAME(splat)(1), lowest = NAME(splat)((real)LOWEST);
    y = SELECT(y < lowest, lowest, y);
    const NAME(vec) shifted = y * NAME(splat)((real)1.4426950408889634) + shift;
    const NAME(vec) n = shifted - shift;
    const NAME(vec) r = y - n * NAME(splat)(LN2_HIGH) - n * NAME(splat)(LN2_LOW);

    NAME(vec) q = NAME(splat)((real)inverse_factorial[TAYLOR_TERMS]);
    UNROLL
    for (int k = TAYLOR_TERMS - 1; k >= 2; k--) q = q * r + NAME(splat)((real)inverse_factorial[k]);

    NAME(ints) bits, exponent;
    memcpy(&bits, &one, sizeof bits);
    memcpy(&exponent, &shifted, sizeof exponent);
    bits += exponent << MANTISSA_BITS; /* the bits of 1, with an exponent larger by n */
    NAME(power) power = {.p = r + r * r * q};
    memcpy(&power.scale, &bits, sizeof bits);
    return power;
}

ALWAYS_INLINE NAME(vec) NAME(minus_absolute)(NAME(vec) x)
{
    return SELECT(x > 0, -x, x);
}

/* 1 / (1 + exp(-x)). */
ALWAYS_INLINE NAME(vec) NAME(sigmoid)(NAME(vec) x)
{
    const NAME(power) power = NAME(power_of)(NAME(minus_absolute)(x));
    const NAME(vec) e = power.scale + power.scale * power.p, one = NAME(splat)(1);
    return SELECT(x >= 0, one, e) / (one + e); /* e = exp(-|x|) cannot overflow */
}

/* tanh(x) = -sign(x) * u / (2 + u) with u = exp(-2|x|) - 1, which has all its digits where x is small. */
ALWAYS_INLINE NAME(vec) NAME(hyperbolic_tangent)(NAME(vec) x)
{
    const NAME(vec) one = NAME(splat)(1), two = NAME(splat)(2);
    const NAME(power) power = NAME(power_of)(two * NAME(minus_absolute)(x));
    const NAME(vec) u = power.scale * power.p + (power.scale - one);
    const NAME(vec) size = u / (two + u);
    return SELECT(x > 0, -size, size);
}

#undef MANTISSA_BITS
#undef LN2_HIGH
#undef LN2_LOW
#undef LOWEST
#undef TAYLOR_TERMS
