/* What an instruction set's file needs before its target region opens: system headers belong
   outside of it, where their inline functions stay at the baseline. */
#ifndef BN_ISA_H
#define BN_ISA_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"
#include "moments.h"

enum { TILE_ROWS = 32 }; /* rows of a channels-last tile that stays in cache over its strips */

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

/* Before a loop whose arrays are the same or apart: it may be vectorised without a check. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define BN_X86_DISPATCH 1
#include <immintrin.h>
#define STREAM_FENCE() _mm_sfence()
#else
#define STREAM_FENCE()
#endif

enum { LINE = 64 }; /* bytes of a cache line, written whole past the cache */

/* Values of a row until a cache line begins, at most n. */
static inline ptrdiff_t values_to_line(const void *row, ptrdiff_t n, size_t itemsize)
{
    ptrdiff_t values = (ptrdiff_t)(-(uintptr_t)row % LINE / itemsize);
    return values < n ? values : n;
}

/* Call `body(activation, flag, stream)` with its arguments as constants: a loop for each case. */
#define SPECIALIZE(body, activation, flag, stream)                                                \
    switch (4 * (int)(activation) + 2 * ((flag) != 0) + ((stream) != 0)) {                        \
    case 0: body(0, 0, 0); break;                                                                 \
    case 1: body(0, 0, 1); break;                                                                 \
    case 2: body(0, 1, 0); break;                                                                 \
    case 3: body(0, 1, 1); break;                                                                 \
    case 4: body(1, 0, 0); break;                                                                 \
    case 5: body(1, 0, 1); break;                                                                 \
    case 6: body(1, 1, 0); break;                                                                 \
    case 7: body(1, 1, 1); break;                                                                 \
    case 8: body(2, 0, 0); break;                                                                 \
    case 9: body(2, 0, 1); break;                                                                 \
    case 10: body(2, 1, 0); break;                                                                \
    case 11: body(2, 1, 1); break;                                                                \
    }

#endif
