/* Conversion of float16 and bfloat16 to float32 and back, for vectors of the size that name
   names. Where the instruction set does not convert float16, integer arithmetic gives the same bits. */

/* The same bits as another type. */
ALWAYS_INLINE floats_whole bits_to_floats(words_whole w)
{
    floats_whole x;
    memcpy(&x, &w, sizeof x);
    return x;
}

ALWAYS_INLINE words_whole floats_to_bits(floats_whole x)
{
    words_whole w;
    memcpy(&w, &x, sizeof w);
    return w;
}

/* bfloat16 is the upper half of a float32. */
ALWAYS_INLINE floats_whole from_bfloat16(halves_whole h)
{
    return bits_to_floats(widen(h) << 16);
}

#ifdef HAS_FLOAT16
ALWAYS_INLINE floats_whole from_float16(halves_whole h)
{
    return float16_to_float(h);
}
#else
#define REBIAS (112 << 23) /* exponent bias of float32 minus that of float16, in place */

ALWAYS_INLINE floats_whole from_float16(halves_whole h)
{
    words_whole w = widen(h), magnitude = w & 0x7fff;
    words_whole normal = (magnitude << 13) + REBIAS;
    words_whole subnormal = floats_to_bits(to_float(magnitude) * 0x1p-24f);
    words_whole not_finite = normal + REBIAS;
    words_whole found = SELECT(magnitude < 0x7c00, normal, not_finite);
    found = SELECT(magnitude < 0x400, subnormal, found);
    return bits_to_floats(found | (w & 0x8000) << 16);
}
#endif

/* Round to nearest, ties to even. NaN becomes a quiet NaN: rounded as a number, it might carry into
   infinity. */
ALWAYS_INLINE halves_whole to_bfloat16(floats_whole x)
{
    words_whole w = floats_to_bits(x), rounded = w + 0x7fff + (w >> 16 & 1);
    return upper_halves(SELECT(x != x, w | 0x400000, rounded));
}

#ifdef HAS_FLOAT16
ALWAYS_INLINE halves_whole to_float16(floats_whole x) { return float_to_float16(x); }
#else
ALWAYS_INLINE halves_whole to_float16(floats_whole x)
{
    const int32_t infinity = 0x7f800000, smallest_normal = 113 << 23;
    words_whole w = floats_to_bits(x), magnitude = w & 0x7fffffff;
    words_whole normal = (magnitude - REBIAS + 0xfff + (magnitude >> 13 & 1)) >> 13;
    words_whole overflow = (words_whole){0} + 0x7c00;
    /* 2^-24, the unit of float16's subnormals, is the unit of float32 at 0.5: adding 0.5 rounds to it */
    floats_whole shifted = bits_to_floats(magnitude) + 0.5f;
    words_whole subnormal = floats_to_bits(shifted) - (126 << 23);
    words_whole nan = (magnitude >> 13 & 0x3ff) | 0x7e00;
    words_whole found = SELECT(normal < 0x7c00, normal, overflow);
    found = SELECT(magnitude < smallest_normal, subnormal, found);
    found = SELECT(magnitude > infinity, nan, found);
    return upper_halves(found << 16 | (w & INT32_MIN));
}
#endif

#undef REBIAS
