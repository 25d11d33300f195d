/* A pool of threads that share the ranges of one loop at a time. POSIX only.

   OpenMP says how many threads to use, but its teams do not live well beside NumPy's BLAS: libgomp's
   caller waits at the end of each loop for threads that are not on a core, 8 ms after a matrix
   product, and with a shorter spin (GOMP_SPINCOUNT) it gains nothing from a second thread. Here the
   caller waits only for those that have begun. */
#ifndef BN_POOL_H
#define BN_POOL_H

#include <stddef.h>

#if defined(__unix__) || defined(__APPLE__)
#define BN_HAS_POOL 1

/* Call body(context, range) for range = 0 … ranges-1, each once, on the calling thread and up to
   `helpers` others. Threads that come too late are not waited for: the caller does their share. */
void bn_pool_run(ptrdiff_t ranges, int helpers, void (*body)(void *context, ptrdiff_t range),
                 void *context);
#endif

#endif
