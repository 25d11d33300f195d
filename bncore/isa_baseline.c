/* What every CPU of the architecture has: SSE2 on x86-64, NEON on arm64. */
#include "isa.h"

#define ISA baseline
#if defined(__aarch64__)
#define FUSED(a, b, c) fma(a, b, c)
#else
#define FUSED(a, b, c) ((a) * (b) + (c))
#endif
#include "isa_body.h"

const bn_isa bn_isa_baseline = {"baseline", table_float32_baseline, table_float64_baseline};
