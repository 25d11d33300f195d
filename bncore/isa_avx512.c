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
#define VECTOR_BYTES 64
#define TO_DOUBLE(x) (wide)_mm512_cvtps_pd((__m256)(x))
#define FUSED(a, b, c) (wide)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c))
#define FIRST(n) ((1u << (n)) - 1)
#define LOAD_PART_float32(from, n) _mm512_maskz_loadu_ps((__mmask16)FIRST(n), from)
#define LOAD_PART_float64(from, n) _mm512_maskz_loadu_pd((__mmask8)FIRST(n), from)
#define STORE_PART_float32(to, v, n) _mm512_mask_storeu_ps(to, (__mmask16)FIRST(n), (__m512)(v))
#define STORE_PART_float64(to, v, n) _mm512_mask_storeu_pd(to, (__mmask8)FIRST(n), (__m512d)(v))
#define STREAM_LINE(to, line) _mm512_stream_si512((__m512i *)(to), _mm512_loadu_si512(line))
#include "isa_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const bn_isa bn_isa_avx512 = {"avx512", &table_float32_avx512, &table_float64_avx512};
#endif
