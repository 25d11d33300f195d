#include "dispatch.h"

#include "isa.h"

extern const bn_isa bn_isa_baseline;

#ifdef BN_X86_DISPATCH
#include <cpuid.h>

extern const bn_isa bn_isa_avx2, bn_isa_avx512;

/* __builtin_cpu_supports knows F16C only since GCC 11. */
static int has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* __builtin_cpu_supports also asks whether the operating system saves the wide registers. */
static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const bn_isa *bn_supported_isa(int i)
{
    const bn_isa *found[3] = {&bn_isa_baseline};
    int count = 1;
#ifdef BN_X86_DISPATCH
    __builtin_cpu_init();
    if (has_avx2()) found[count++] = &bn_isa_avx2;
    if (has_avx2() && has_avx512()) found[count++] = &bn_isa_avx512;
#endif
    return i < count ? found[i] : NULL;
}
