/* The cache that a core has for itself. */
#ifndef BN_CORE_CACHE_H
#define BN_CORE_CACHE_H

#include <stddef.h>

/* Bytes of a core's second-level cache; 0 where the system does not tell. */
ptrdiff_t bn_core_cache(void);

#endif
