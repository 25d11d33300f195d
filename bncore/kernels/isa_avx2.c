/* AVX2, on a CPU that has it. */
#include "isa.h"

#ifdef BN_X86_DISPATCH
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

/* The 8 words before the end of n whole ones, then zeros: a mask of the first n. */
static const int32_t words[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
#define FIRST(n, words_each) _mm256_loadu_si256((const __m256i *)(words + 8 - (n) * (words_each)))

static inline __m128i upper_halves(__m256i words)
{
    words = _mm256_srli_epi32(words, 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

#define ISA avx2
#define VECTOR_BYTES 32
#define TO_DOUBLE(x) (wide)_mm256_cvtps_pd((__m128)(x))
#define FUSED(a, b, c) (wide)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c))
#define MASKED_BITS 32
#define LOAD_PART_float(from, n) _mm256_maskload_ps(from, FIRST(n, 1))
#define LOAD_PART_double(from, n) _mm256_maskload_pd(from, FIRST(n, 2))
#define STORE_PART_float(to, v, n) _mm256_maskstore_ps(to, FIRST(n, 1), (__m256)(v))
#define STORE_PART_double(to, v, n) _mm256_maskstore_pd(to, FIRST(n, 2), (__m256d)(v))
#define TO_WORDS_narrow(h) _mm_cvtepu16_epi32(_mm_cvtsi64_si128((int64_t)(h)))
#define TO_WORDS_whole(h) _mm256_cvtepu16_epi32((__m128i)(h))
#define UPPER_HALVES(w) upper_halves((__m256i)(w))
#define HAS_FLOAT16
#define FROM_FLOAT16_narrow(h) _mm_cvtph_ps(_mm_cvtsi64_si128((int64_t)(h)))
#define FROM_FLOAT16_whole(h) _mm256_cvtph_ps((__m128i)(h))
#define TO_FLOAT16(x) _mm256_cvtps_ph((__m256)(x), _MM_FROUND_TO_NEAREST_INT)
#define STREAM_LINE(to, line)                                                                     \
    for (int i_ = 0; i_ < 2; i_++)                                                                \
    _mm256_stream_si256((__m256i *)(to) + i_, _mm256_loadu_si256((const __m256i *)(line) + i_))
#include "isa_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const bn_isa bn_isa_avx2 = {TABLES(avx2)};
#endif
