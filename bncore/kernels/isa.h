/* What an instruction set's file includes before it opens its target region; isa_body.h lists what the
   file must define inside of it. System headers belong
   here, outside of the region: inside, their inline functions would be compiled for the instruction
   set, and the linker might pick that copy for code that runs on every CPU. */
#ifndef BN_ISA_H
#define BN_ISA_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "integers.h"
#include "kernels.h"
#include "moments.h"

/* BN_VECTORS: the compiler has vector types (GCC's vector_size). Without them, each vector is a single
   value. */
#ifndef BN_VECTORS
#if defined(__GNUC__) || defined(__clang__)
#define BN_VECTORS 1
#else
#define BN_VECTORS 0
#endif
#endif

#if BN_VECTORS
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NEVER_INLINE static __attribute__((noinline))
#define UNROLL _Pragma("GCC unroll 16")
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define ALWAYS_INLINE static inline
#define NEVER_INLINE static
#define UNROLL
#define PREFETCH(address) ((void)(address))
#endif

/* BN_X86_DISPATCH: AVX2 and AVX-512 are compiled too, each in a target region of its own file, unless
   BN_BASELINE_ONLY is defined. */
#if defined(__x86_64__) && BN_VECTORS && !defined(BN_BASELINE_ONLY)
#define BN_X86_DISPATCH
#include <immintrin.h>
#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define TARGET_BEGIN(features)                                                                    \
    PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TARGET_END PRAGMA(clang attribute pop)
#else
#define TARGET_BEGIN(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define TARGET_END PRAGMA(GCC pop_options)
#endif
#endif

/* What a loop is compiled for. Functions that take a kind are inlined and get a constant. */
typedef struct {
    int backward; /* sums: Σg and Σg·xm, else Σd and Σd²; outputs: dx, else y */
    bn_activation activation;
    int extra;    /* forward: there is a residual; backward: there is y, which has the sign of z */
    int step;     /* from one value to the next, per-channel values advance by: 0 planar, 1 channels-last */
    int run;      /* there are a run_weight and a run_bias */
    int grouped;  /* backward: the coefficients have a weight and a factor */
} loop_kind;

/* call(activation, extra, step) with constants for arguments, so that each case is a loop of its own. The
   loops of an activation are a function of their own, because GCC gives the registers of a function with
   many loops less care: with all of them in one, a backward pass took 4 % more instructions. The sums
   without an activation took 3 % more in a function of their own, and are where they are called. */
#define FOR_STEP(call, activation, extra, step)                                                   \
    do {                                                                                          \
        if (step) call(activation, extra, 1);                                                     \
        else call(activation, extra, 0);                                                          \
    } while (0)
#define FOR_EXTRA_AND_STEP(call, activation, extra, step)                                         \
    do {                                                                                          \
        if (extra) FOR_STEP(call, activation, 1, step);                                           \
        else FOR_STEP(call, activation, 0, step);                                                 \
    } while (0)

/* call(vectors, depthwise) with constants for arguments: 1 or CONV_VECTORS vectors. */
#define FOR_TILE(call, vectors, depthwise)                                                        \
    do {                                                                                          \
        if ((vectors) == 1 && (depthwise)) call(1, 1);                                            \
        else if ((vectors) == 1) call(1, 0);                                                      \
        else if (depthwise) call(CONV_VECTORS, 1);                                                \
        else call(CONV_VECTORS, 0);                                                               \
    } while (0)

#endif
