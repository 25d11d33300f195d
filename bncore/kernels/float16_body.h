/* float16 and bfloat16 as float32, and back: COUNT values, of the size that SIZED(name) names. Where
   the instruction set has no conversion of float16, integer arithmetic gives the same bits. */

#if BN_VECTORS
typedef uint16_t SIZED(halves) VECTOR(COUNT * 2);
typedef int32_t SIZED(words) VECTOR(COUNT * 4);
typedef float SIZED(floats) VECTOR(COUNT * 4);
#define IF(condition, a, b) (((condition) & (a)) | (~(condition) & (b)))
#else
typedef uint16_t SIZED(halves);
typedef int32_t SIZED(words);
typedef float SIZED(floats);
#define IF(condition, a, b) ((condition) ? (a) : (b))
#endif
#define FLOATS(v) (((union { SIZED(words) from; SIZED(floats) to; }){v}).to) /* the same bits */
#define WORDS(v) (((union { SIZED(floats) from; SIZED(words) to; }){v}).to)
#define INFINITE 0x7f800000
#define REBIAS (112 << 23) /* the bias of float32's exponent less that of float16's */

/* The upper half of a float32. */
ALWAYS_INLINE SIZED(floats) SIZED(from_bfloat16)(SIZED(halves) h)
{
    return FLOATS((SIZED(words))SIZED(TO_WORDS)(h) << 16);
}

ALWAYS_INLINE SIZED(floats) SIZED(from_float16)(SIZED(halves) h)
{
#ifdef HAS_FLOAT16
    return (SIZED(floats))SIZED(FROM_FLOAT16)(h);
#else
    SIZED(words) w = SIZED(TO_WORDS)(h), size = w & 0x7fff;
    SIZED(words) normal = (size << 13) + REBIAS;
    SIZED(words) small = WORDS(SIZED(TO_FLOATS)(size) * 0x1p-24f);
    SIZED(words) found = IF(size < 0x400, small, IF(size < 0x7c00, normal, normal + REBIAS));
    return FLOATS(found | (w & 0x8000) << 16);
#endif
}

#ifdef WRITTEN
/* Rounded to the nearest, ties to even; a NaN keeps a bit. */
ALWAYS_INLINE SIZED(halves) SIZED(to_bfloat16)(SIZED(floats) x)
{
    SIZED(words) w = WORDS(x), rounded = w + 0x7fff + (w >> 16 & 1);
    return (SIZED(halves))UPPER_HALVES(IF(x != x, w | 0x400000, rounded));
}

ALWAYS_INLINE SIZED(halves) SIZED(to_float16)(SIZED(floats) x)
{
#ifdef HAS_FLOAT16
    return (SIZED(halves))TO_FLOAT16(x);
#else
    SIZED(words) w = WORDS(x), size = w & 0x7fffffff;
    SIZED(words) normal = (size - REBIAS + 0xfff + (size >> 13 & 1)) >> 13;
    SIZED(words) infinite = IF(normal < 0x7c00, normal, (SIZED(words)){0} + 0x7c00);
    SIZED(words) small = WORDS(FLOATS(size) + 0.5f) - (126 << 23); /* its last bit is worth 2^-24 */
    SIZED(words) nan = (size >> 13 & 0x3ff) | 0x7e00;
    SIZED(words) found = IF(size > INFINITE, nan, IF(size < 113 << 23, small, infinite));
    return (SIZED(halves))UPPER_HALVES(found << 16 | (w & INT32_MIN));
#endif
}
#endif

#undef IF
#undef FLOATS
#undef WORDS
#undef INFINITE
#undef REBIAS
