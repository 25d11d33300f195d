/* AVX2, on a CPU that has it. */
#include "isa.h"

#ifdef BN_X86_DISPATCH
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define ISA avx2
#define FUSED(a, b, c) __builtin_fma(a, b, c)
#define STREAM_LINE(to, line)                                                                     \
    for (int i_ = 0; i_ < 2; i_++)                                                                \
    _mm256_stream_si256((__m256i *)(to) + i_, _mm256_loadu_si256((const __m256i *)(line) + i_))
#include "isa_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const bn_isa bn_isa_avx2 = {"avx2", table_float32_avx2, table_float64_avx2};
#endif
