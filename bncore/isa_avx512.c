/* AVX-512, on a CPU that has it. */
#include "isa.h"

#ifdef BN_X86_DISPATCH
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

#define ISA avx512
#define FUSED(a, b, c) __builtin_fma(a, b, c)
#define STREAM_LINE(to, line) _mm512_stream_si512((__m512i *)(to), _mm512_loadu_si512(line))
#include "isa_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const bn_isa bn_isa_avx512 = {"avx512", table_float32_avx512, table_float64_avx512};
#endif
