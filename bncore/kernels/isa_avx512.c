/* AVX-512 with the extensions BW, DQ and VL. */
#include "isa.h"

#ifdef BN_X86_DISPATCH
TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")

#define ISA avx512
#define VECTOR_BYTES 64
#define MASKED_BITS 16
#define HAS_FLOAT16
#define CONV_PIXELS 8
#define CONV_ROWS 8
#define CONV_VECTORS 2
#include "vector_types.h"

ALWAYS_INLINE wide to_double(floats_narrow x) { return (wide)_mm512_cvtps_pd((__m256)x); }

ALWAYS_INLINE wide fused_double(wide a, wide b, wide c)
{
    return (wide)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}

ALWAYS_INLINE floats_whole fused_float(floats_whole a, floats_whole b, floats_whole c)
{
    return (floats_whole)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

ALWAYS_INLINE __mmask16 first_bits(ptrdiff_t n) { return (__mmask16)((1u << n) - 1); }

ALWAYS_INLINE halves_whole load_first_uint16_t(const uint16_t *from, ptrdiff_t n)
{
    return (halves_whole)_mm256_maskz_loadu_epi16(first_bits(n), from);
}

ALWAYS_INLINE floats_whole load_first_float(const float *from, ptrdiff_t n)
{
    return (floats_whole)_mm512_maskz_loadu_ps(first_bits(n), from);
}

ALWAYS_INLINE wide load_first_double(const double *from, ptrdiff_t n)
{
    return (wide)_mm512_maskz_loadu_pd((__mmask8)first_bits(n), from);
}

ALWAYS_INLINE void store_first_uint16_t(uint16_t *to, halves_whole v, ptrdiff_t n)
{
    _mm256_mask_storeu_epi16(to, first_bits(n), (__m256i)v);
}

ALWAYS_INLINE void store_first_float(float *to, floats_whole v, ptrdiff_t n)
{
    _mm512_mask_storeu_ps(to, first_bits(n), (__m512)v);
}

ALWAYS_INLINE void store_first_double(double *to, wide v, ptrdiff_t n)
{
    _mm512_mask_storeu_pd(to, (__mmask8)first_bits(n), (__m512d)v);
}

ALWAYS_INLINE words_whole widen(halves_whole h)
{
    return (words_whole)_mm512_cvtepu16_epi32((__m256i)h);
}

/* By a permutation: the conversion to 16 bits takes several times as long on Zen 4. */
ALWAYS_INLINE halves_whole upper_halves(words_whole w)
{
    const __m512i odd = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1,
                                         31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return (halves_whole)_mm512_castsi512_si256(_mm512_permutexvar_epi16(odd, (__m512i)w));
}

ALWAYS_INLINE floats_whole float16_to_float(halves_whole h)
{
    return (floats_whole)_mm512_cvtph_ps((__m256i)h);
}

ALWAYS_INLINE halves_whole float_to_float16(floats_whole x)
{
    return (halves_whole)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT);
}

ALWAYS_INLINE void stream_line(void *to, const void *line)
{
    _mm512_stream_si512((__m512i *)to, _mm512_loadu_si512(line));
}

ALWAYS_INLINE void stream_fence(void) { _mm_sfence(); }

#include "isa_body.h"

TARGET_END
#endif
