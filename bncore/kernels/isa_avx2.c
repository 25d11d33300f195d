/* AVX2 with FMA and F16C. */
#include "isa.h"

#ifdef BN_X86_DISPATCH
TARGET_BEGIN("avx2,fma,f16c")

#define ISA avx2
#define VECTOR_BYTES 32
#define MASKED_BITS 32
#define HAS_FLOAT16
#define CONV_PIXELS 4
#define CONV_ROWS 6
#define CONV_VECTORS 2
#include "vector_types.h"

ALWAYS_INLINE wide to_double(floats_narrow x) { return (wide)_mm256_cvtps_pd((__m128)x); }

ALWAYS_INLINE wide fused_double(wide a, wide b, wide c)
{
    return (wide)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}

ALWAYS_INLINE floats_whole fused_float(floats_whole a, floats_whole b, floats_whole c)
{
    return (floats_whole)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

/* A mask whose first n of 8 words are set. */
ALWAYS_INLINE __m256i first_words(ptrdiff_t n)
{
    static const int32_t ones_then_zeros[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones_then_zeros + 8 - n));
}

ALWAYS_INLINE floats_whole load_first_float(const float *from, ptrdiff_t n)
{
    return (floats_whole)_mm256_maskload_ps(from, first_words(n));
}

ALWAYS_INLINE wide load_first_double(const double *from, ptrdiff_t n)
{
    return (wide)_mm256_maskload_pd(from, first_words(2 * n));
}

ALWAYS_INLINE void store_first_float(float *to, floats_whole v, ptrdiff_t n)
{
    _mm256_maskstore_ps(to, first_words(n), (__m256)v);
}

ALWAYS_INLINE void store_first_double(double *to, wide v, ptrdiff_t n)
{
    _mm256_maskstore_pd(to, first_words(2 * n), (__m256d)v);
}

ALWAYS_INLINE words_whole widen(halves_whole h)
{
    return (words_whole)_mm256_cvtepu16_epi32((__m128i)h);
}

ALWAYS_INLINE halves_whole upper_halves(words_whole w)
{
    const __m256i upper = _mm256_srli_epi32((__m256i)w, 16);
    return (halves_whole)_mm_packus_epi32(_mm256_castsi256_si128(upper),
                                          _mm256_extracti128_si256(upper, 1));
}

ALWAYS_INLINE floats_whole float16_to_float(halves_whole h)
{
    return (floats_whole)_mm256_cvtph_ps((__m128i)h);
}

ALWAYS_INLINE halves_whole float_to_float16(floats_whole x)
{
    return (halves_whole)_mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT);
}

ALWAYS_INLINE void stream_line(void *to, const void *line)
{
    for (int i = 0; i < 2; i++)
        _mm256_stream_si256((__m256i *)to + i, _mm256_loadu_si256((const __m256i *)line + i));
}

ALWAYS_INLINE void stream_fence(void) { _mm_sfence(); }

#include "isa_body.h"

TARGET_END
#endif
