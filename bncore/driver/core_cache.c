#include "core_cache.h"

#include <stdatomic.h>

#ifndef _WIN32
#include <unistd.h>
#endif

static ptrdiff_t ask(void)
{
#ifdef _SC_LEVEL2_CACHE_SIZE
    const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? bytes : 0;
#else
    return 0;
#endif
}

ptrdiff_t bn_core_cache(void)
{
    static atomic_ptrdiff_t known = -1; /* asking takes longer than a small call */
    ptrdiff_t bytes = atomic_load_explicit(&known, memory_order_relaxed);
    if (bytes < 0) {
        bytes = ask();
        atomic_store_explicit(&known, bytes, memory_order_relaxed);
    }
    return bytes;
}
