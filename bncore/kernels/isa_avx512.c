/* AVX-512, on a CPU that has it. */
#include "isa.h"

#ifdef BN_X86_DISPATCH
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

/* A permutation: the conversion to 16 bits takes several times as long (Zen 4). */
static inline __m256i upper_halves(__m512i words)
{
    const __m512i odd = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1,
                                         31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return _mm512_castsi512_si256(_mm512_permutexvar_epi16(odd, words));
}

#define ISA avx512
#define VECTOR_BYTES 64
#define TO_DOUBLE(x) (wide)_mm512_cvtps_pd((__m256)(x))
#define FUSED(a, b, c) (wide)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c))
#define FIRST(n) ((1u << (n)) - 1)
#define MASKED_BITS 16
#define LOAD_PART_uint16_t(from, n) _mm256_maskz_loadu_epi16((__mmask16)FIRST(n), from)
#define LOAD_PART_float(from, n) _mm512_maskz_loadu_ps((__mmask16)FIRST(n), from)
#define LOAD_PART_double(from, n) _mm512_maskz_loadu_pd((__mmask8)FIRST(n), from)
#define STORE_PART_uint16_t(to, v, n) _mm256_mask_storeu_epi16(to, (__mmask16)FIRST(n), (__m256i)(v))
#define STORE_PART_float(to, v, n) _mm512_mask_storeu_ps(to, (__mmask16)FIRST(n), (__m512)(v))
#define STORE_PART_double(to, v, n) _mm512_mask_storeu_pd(to, (__mmask8)FIRST(n), (__m512d)(v))
#define TO_WORDS_narrow(h) _mm256_cvtepu16_epi32((__m128i)(h))
#define TO_WORDS_whole(h) _mm512_cvtepu16_epi32((__m256i)(h))
#define UPPER_HALVES(w) upper_halves((__m512i)(w))
#define HAS_FLOAT16
#define FROM_FLOAT16_narrow(h) _mm256_cvtph_ps((__m128i)(h))
#define FROM_FLOAT16_whole(h) _mm512_cvtph_ps((__m256i)(h))
#define TO_FLOAT16(x) _mm512_cvtps_ph((__m512)(x), _MM_FROUND_TO_NEAREST_INT)
#define STREAM_LINE(to, line) _mm512_stream_si512((__m512i *)(to), _mm512_loadu_si512(line))
#include "isa_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const bn_isa bn_isa_avx512 = {TABLES(avx512)};
#endif
