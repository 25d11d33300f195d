/* The only place that knows OpenMP. */
#ifndef BN_PARALLEL_H
#define BN_PARALLEL_H

#include <stddef.h>

/* Call body(context, begin, end) for ranges that cover 0 … count-1 once, in no order, on up to
   `threads` threads. */
typedef void (*bn_range_body)(const void *context, ptrdiff_t begin, ptrdiff_t end);
void bn_parallel_for(ptrdiff_t count, int threads, bn_range_body body, const void *context);

enum { BN_MOST_THREADS = 1024 };  /* no call uses more, whatever was asked for */

int bn_has_openmp(void);
int bn_max_threads(void);         /* what a call from this thread may use now */

/* Upper limit of the number of threads from now on; 0: as many as OpenMP says. If OpenMP's own
   number changes later (threadpoolctl does that), the smaller of the two wins. */
void bn_set_max_threads(int n);
int bn_threads_asked(void); /* the n of the last call, 0 before */

#endif
