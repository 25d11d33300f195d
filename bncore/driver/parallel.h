/* OpenMP, which no other file knows: a parallel loop, and the number of threads. */
#ifndef BN_PARALLEL_H
#define BN_PARALLEL_H

#include <stddef.h>

/* Call body(context, begin, end, worker) on up to `threads` threads, for ranges that together cover each
   of 0 … count-1 once. The worker is a number below `threads`; no two calls at the same time have the same
   one, so that it can stand for a part of a work space. Each thread begins with its own part of the count,
   the same in every loop of this count, because its core's cache may still hold what it worked on there. */
typedef void (*bn_range_body)(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker);
void bn_parallel_for(ptrdiff_t count, int threads, bn_range_body body, const void *context);

/* The same, but each thread begins at the end of its part. The body goes through a range as it likes. */
void bn_parallel_for_backwards(ptrdiff_t count, int threads, bn_range_body body, const void *context);

enum { BN_MOST_THREADS = 1024 }; /* no call uses more, whatever was asked for */

int bn_has_openmp(void);
int bn_max_threads(void); /* what a call from this thread may use now */

/* Upper limit of the number of threads from now on; 0: as many as OpenMP says. If OpenMP's own
   number changes later (threadpoolctl does that), the smaller of the two wins. */
void bn_set_max_threads(int n);
int bn_threads_asked(void); /* the n of the last bn_set_max_threads; 0 before the first */

#endif
