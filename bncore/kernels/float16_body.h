/* Conversion of float16 and bfloat16 to float32 and back, for vectors of the size that SIZED(name)
   names. Where the instruction set does not convert float16, integer arithmetic gives the same bits. */

/* The same bits as another type. */
ALWAYS_INLINE SIZED(floats) SIZED(bits_to_floats)(SIZED(words) w)
{
    SIZED(floats) x;
    memcpy(&x, &w, sizeof x);
    return x;
}

ALWAYS_INLINE SIZED(words) SIZED(floats_to_bits)(SIZED(floats) x)
{
    SIZED(words) w;
    memcpy(&w, &x, sizeof w);
    return w;
}

/* bfloat16 is the upper half of a float32. */
ALWAYS_INLINE SIZED(floats) SIZED(from_bfloat16)(SIZED(halves) h)
{
    return SIZED(bits_to_floats)(SIZED(widen)(h) << 16);
}

#ifdef HAS_FLOAT16
ALWAYS_INLINE SIZED(floats) SIZED(from_float16)(SIZED(halves) h)
{
    return SIZED(float16_to_float)(h);
}
#else
#define REBIAS (112 << 23) /* exponent bias of float32 minus that of float16, in place */

ALWAYS_INLINE SIZED(floats) SIZED(from_float16)(SIZED(halves) h)
{
    SIZED(words) w = SIZED(widen)(h), magnitude = w & 0x7fff;
    SIZED(words) normal = (magnitude << 13) + REBIAS;
    SIZED(words) subnormal = SIZED(floats_to_bits)(SIZED(to_float)(magnitude) * 0x1p-24f);
    SIZED(words) not_finite = normal + REBIAS;
    SIZED(words) found = SELECT(magnitude < 0x7c00, normal, not_finite);
    found = SELECT(magnitude < 0x400, subnormal, found);
    return SIZED(bits_to_floats)(found | (w & 0x8000) << 16);
}
#endif

#ifdef WRITTEN
/* Round to nearest, ties to even. NaN becomes a quiet NaN: rounded as a number, it might carry into
   infinity. */
ALWAYS_INLINE SIZED(halves) SIZED(to_bfloat16)(SIZED(floats) x)
{
    SIZED(words) w = SIZED(floats_to_bits)(x), rounded = w + 0x7fff + (w >> 16 & 1);
    return upper_halves(SELECT(x != x, w | 0x400000, rounded));
}

#ifdef HAS_FLOAT16
ALWAYS_INLINE SIZED(halves) SIZED(to_float16)(SIZED(floats) x) { return float_to_float16(x); }
#else
ALWAYS_INLINE SIZED(halves) SIZED(to_float16)(SIZED(floats) x)
{
    const int32_t infinity = 0x7f800000, smallest_normal = 113 << 23;
    SIZED(words) w = SIZED(floats_to_bits)(x), magnitude = w & 0x7fffffff;
    SIZED(words) normal = (magnitude - REBIAS + 0xfff + (magnitude >> 13 & 1)) >> 13;
    SIZED(words) overflow = (SIZED(words)){0} + 0x7c00;
    /* 2^-24, the unit of float16's subnormals, is the unit of float32 at 0.5: adding 0.5 rounds to it */
    SIZED(floats) shifted = SIZED(bits_to_floats)(magnitude) + 0.5f;
    SIZED(words) subnormal = SIZED(floats_to_bits)(shifted) - (126 << 23);
    SIZED(words) nan = (magnitude >> 13 & 0x3ff) | 0x7e00;
    SIZED(words) found = SELECT(normal < 0x7c00, normal, overflow);
    found = SELECT(magnitude < smallest_normal, subnormal, found);
    found = SELECT(magnitude > infinity, nan, found);
    return upper_halves(found << 16 | (w & INT32_MIN));
}
#endif
#endif

#undef REBIAS
