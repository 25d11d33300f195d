/* A pool of threads that work on one loop at a time, or in their place the team of host_team.h. POSIX only;
   elsewhere, OpenMP's threads do.
   docs/design.md, "Threads", tells why OpenMP's own are not used. */
#ifndef BN_THREAD_POOL_H
#define BN_THREAD_POOL_H

#include <stddef.h>

#if defined(__unix__) || defined(__APPLE__)
#define BN_HAS_POOL 1

typedef void (*bn_pool_body)(void *context, ptrdiff_t range, int worker);

/* Call body(context, range, worker) once for each range = 0 … shares·each - 1, on the calling thread, which
   is worker 0, and up to shares - 1 others, which are the workers from 1 on. A worker begins with the ranges
   of the share of its number, and then takes from the others' shares what is left there. The caller does not
   wait for a helper that has not begun; it does its share. */
void bn_pool_run(int shares, ptrdiff_t each, bn_pool_body body, void *context);
#endif

#endif
