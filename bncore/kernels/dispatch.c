#include "dispatch.h"

#include "isa.h"

extern const bn_isa bn_isa_baseline;
#ifdef BN_X86_DISPATCH
extern const bn_isa bn_isa_avx2, bn_isa_avx512;
#endif

#ifdef BN_X86_DISPATCH
#include <cpuid.h>

/* GCC's test knows it since version 11 only. */
static int has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

const bn_isa *bn_supported_isa(int i)
{
    const bn_isa *found[3] = {&bn_isa_baseline, NULL, NULL};
    int count = 1;
#ifdef BN_X86_DISPATCH
    /* the compiler's own test asks the operating system too, which must save the wide registers */
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) {
        found[count++] = &bn_isa_avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            found[count++] = &bn_isa_avx512;
    }
#endif
    return i < count ? found[i] : NULL;
}
