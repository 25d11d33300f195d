/* bfloat16, the upper half of a float32, to float32 and back. */
#ifndef BN_BFLOAT16_H
#define BN_BFLOAT16_H

#include <stddef.h>
#include <stdint.h>

/* n values that lie one after the other, on up to `threads` threads. */
void bn_bfloat16_to_float(const uint16_t *from, float *to, ptrdiff_t n, int threads);
/* Rounded to the nearest, ties to even; NaN stays NaN. */
void bn_float_to_bfloat16(const float *from, uint16_t *to, ptrdiff_t n, int threads);

#endif
