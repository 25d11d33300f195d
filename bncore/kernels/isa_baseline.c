/* What every CPU of the architecture has: SSE2 on x86-64, NEON on arm64. */
#include "isa.h"

#define ISA baseline
#define VECTOR_BYTES 16
#define MASKED_BITS 128
#define CONV_PIXELS 4
#define CONV_ROWS 4
#define CONV_VECTORS 2
#include "vector_types.h"

ALWAYS_INLINE wide to_double(floats_narrow x) { return CONVERT(x, wide); }

ALWAYS_INLINE wide fused_double(wide a, wide b, wide c) { return a * b + c; }

ALWAYS_INLINE floats_whole fused_float(floats_whole a, floats_whole b, floats_whole c)
{
    return a * b + c;
}

ALWAYS_INLINE words_whole widen(halves_whole h) { return CONVERT(h, words_whole); }
ALWAYS_INLINE halves_whole upper_halves(words_whole w) { return CONVERT(w >> 16, halves_whole); }

ALWAYS_INLINE floats_whole to_float(words_whole w) { return CONVERT(w, floats_whole); }

ALWAYS_INLINE void stream_line(void *to, const void *line)
{
#ifdef BN_X86_DISPATCH
    for (int i = 0; i < 4; i++)
        _mm_stream_si128((__m128i *)to + i, _mm_loadu_si128((const __m128i *)line + i));
#else
    memcpy(to, line, BN_LINE);
#endif
}

ALWAYS_INLINE void stream_fence(void)
{
#ifdef BN_X86_DISPATCH
    _mm_sfence();
#endif
}

#include "isa_body.h"
