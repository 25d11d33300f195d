/* What every CPU of the architecture has: SSE2 on x86-64, NEON on arm64. */
#include "isa.h"

#define ISA baseline
#define VECTOR_BYTES 16
#define MASKED_BITS 128
#if BN_VECTORS
#define TO_DOUBLE(x) __builtin_convertvector(x, wide)
#define TO_WORDS_narrow(h) __builtin_convertvector(h, words_narrow)
#define TO_WORDS_whole(h) __builtin_convertvector(h, words_whole)
#define TO_FLOATS_narrow(w) __builtin_convertvector(w, floats_narrow)
#define TO_FLOATS_whole(w) __builtin_convertvector(w, floats_whole)
#define UPPER_HALVES(w) __builtin_convertvector((w) >> 16, halves_whole)
#else
#define TO_DOUBLE(x) ((double)(x))
#define TO_WORDS_narrow(h) (h)
#define TO_WORDS_whole(h) (h)
#define TO_FLOATS_narrow(w) ((float)(w))
#define TO_FLOATS_whole(w) ((float)(w))
#define UPPER_HALVES(w) ((w) >> 16)
#endif
#define FUSED(a, b, c) ((a) * (b) + (c)) /* only used where the product is exact */
#ifdef BN_X86_DISPATCH
#define STREAM_LINE(to, line)                                                                     \
    for (int i_ = 0; i_ < 4; i_++)                                                                \
    _mm_stream_si128((__m128i *)(to) + i_, _mm_loadu_si128((const __m128i *)(line) + i_))
#else
#define STREAM_LINE(to, line) memcpy(to, line, BN_LINE)
#endif
#include "isa_body.h"

const bn_isa bn_isa_baseline = {TABLES(baseline)};
