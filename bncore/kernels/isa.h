/* What an instruction set's file needs before its target region opens: system headers belong
   outside of it, where their inline functions stay at the baseline. */
#ifndef BN_ISA_H
#define BN_ISA_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"
#include "moments.h"

#if defined(__GNUC__) || defined(__clang__)
#define BN_VECTORS 1 /* the compiler has vectors as types */
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#else
#define BN_VECTORS 0
#define ALWAYS_INLINE static inline
#define UNROLL
#endif

#if defined(__x86_64__) && BN_VECTORS
#define BN_X86_DISPATCH 1
#include <immintrin.h>
#define STREAM_FENCE() _mm_sfence()
#else
#define STREAM_FENCE()
#endif

/* Call `body(activation, flag, last)` with its arguments as constants: a loop for each case. */
#define SPECIALIZE(body, activation, flag, last)                                                  \
    switch (4 * (int)(activation) + 2 * ((flag) != 0) + ((last) != 0)) {                          \
    case 0: body(BN_NO_ACTIVATION, 0, 0); break;                                                  \
    case 1: body(BN_NO_ACTIVATION, 0, 1); break;                                                  \
    case 2: body(BN_NO_ACTIVATION, 1, 0); break;                                                  \
    case 3: body(BN_NO_ACTIVATION, 1, 1); break;                                                  \
    case 4: body(BN_RELU, 0, 0); break;                                                           \
    case 5: body(BN_RELU, 0, 1); break;                                                           \
    case 6: body(BN_RELU, 1, 0); break;                                                           \
    case 7: body(BN_RELU, 1, 1); break;                                                           \
    case 8: body(BN_LEAKY_RELU, 0, 0); break;                                                     \
    case 9: body(BN_LEAKY_RELU, 0, 1); break;                                                     \
    case 10: body(BN_LEAKY_RELU, 1, 0); break;                                                    \
    case 11: body(BN_LEAKY_RELU, 1, 1); break;                                                    \
    }

#endif
