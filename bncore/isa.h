/* What an instruction set's file needs before its target region opens: system headers belong
   outside of it, where their inline functions stay at the baseline. */
#ifndef BN_ISA_H
#define BN_ISA_H

#include <math.h>
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
#endif

#endif
