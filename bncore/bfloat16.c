#include "bfloat16.h"

#include "parallel.h"

enum { PIECE = 16384, SERIAL_BELOW = 65536 }; /* values */

typedef struct {
    const void *from;
    void *to;
    ptrdiff_t n;
} conversion;

static ptrdiff_t end_of(const conversion *c, ptrdiff_t piece)
{
    return piece * PIECE < c->n ? piece * PIECE : c->n;
}

static void widen(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const conversion *c = context;
    const uint16_t *restrict from = c->from;
    uint32_t *restrict to = c->to;
    for (ptrdiff_t i = begin * PIECE; i < end_of(c, end); i++) to[i] = (uint32_t)from[i] << 16;
}

static void narrow(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const conversion *c = context;
    const uint32_t *restrict from = c->from;
    uint16_t *restrict to = c->to;
    for (ptrdiff_t i = begin * PIECE; i < end_of(c, end); i++) {
        const uint32_t bits = from[i], rounded = bits + 0x7fff + (bits >> 16 & 1);
        const uint32_t nan = (bits & 0x7fffffff) > 0x7f800000;
        to[i] = (uint16_t)((nan ? bits | 0x400000 : rounded) >> 16); /* a NaN keeps a bit, quietly */
    }
}

static void convert(conversion c, int threads, bn_range_body body)
{
    bn_parallel_for((c.n + PIECE - 1) / PIECE, c.n < SERIAL_BELOW ? 1 : threads, body, &c);
}

void bn_bfloat16_to_float(const uint16_t *from, float *to, ptrdiff_t n, int threads)
{
    convert((conversion){from, to, n}, threads, widen);
}

void bn_float_to_bfloat16(const float *from, uint16_t *to, ptrdiff_t n, int threads)
{
    convert((conversion){from, to, n}, threads, narrow);
}
