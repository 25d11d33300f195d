#include "parallel.h"

#include "integers.h"
#include "thread_pool.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* The number that bn_set_max_threads was given, and OpenMP's own number at that time. */
static int asked = 0, openmp_then = 0;

static int openmp_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

int bn_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int bn_max_threads(void)
{
    /* OpenMP is asked at every call, because threadpoolctl and omp_set_num_threads set the number of
       the calling thread only */
    int openmp_now = openmp_threads(), threads = openmp_now;
    if (asked && bn_has_openmp() && (openmp_now == openmp_then || asked < openmp_now))
        threads = asked;
    return (int)bn_min(threads, BN_MOST_THREADS);
}

void bn_set_max_threads(int n)
{
    asked = n;
    openmp_then = openmp_threads();
}

int bn_threads_asked(void)
{
    return asked;
}

#ifdef _OPENMP
enum { RANGES_PER_THREAD = 4 }; /* several, so that others can do the share of a thread that is late */

/* Each thread's share of the count is cut into `each` ranges. */
typedef struct {
    bn_range_body body;
    const void *context;
    ptrdiff_t count, ranges, each;
    int backwards;
} loop;

static void run_range(void *context, ptrdiff_t i, int worker)
{
    const loop *l = context;
    if (l->backwards) i += l->each - 1 - 2 * (i % l->each); /* the last of its share first */
    const ptrdiff_t length = l->count / l->ranges, longer = l->count % l->ranges;
    const ptrdiff_t begin = length * i + bn_min(i, longer); /* the first ranges are longer by one */
    const ptrdiff_t end = begin + length + (i < longer);
    if (begin < end) l->body(l->context, begin, end, worker);
}

static void run_shared(ptrdiff_t count, int threads, bn_range_body body, const void *context,
                       int backwards)
{
    const ptrdiff_t each = bn_min(RANGES_PER_THREAD, bn_ceil_div(count, threads));
    loop l = {.body = body, .context = context, .count = count, .ranges = threads * each,
              .each = each, .backwards = backwards};
#ifdef BN_HAS_POOL
    bn_pool_run(threads, each, run_range, &l);
#else
    ptrdiff_t i;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (i = 0; i < l.ranges; i++) run_range(&l, i, omp_get_thread_num());
#endif
}
#else
static void run_shared(ptrdiff_t count, int threads, bn_range_body body, const void *context,
                       int backwards)
{
    (void)threads, (void)backwards;
    body(context, 0, count, 0);
}
#endif

static void run(ptrdiff_t count, int threads, bn_range_body body, const void *context, int backwards)
{
    if (threads > count) threads = (int)count;
    if (threads > 1) run_shared(count, threads, body, context, backwards);
    else body(context, 0, count, 0);
}

void bn_parallel_for(ptrdiff_t count, int threads, bn_range_body body, const void *context)
{
    run(count, threads, body, context, 0);
}

void bn_parallel_for_backwards(ptrdiff_t count, int threads, bn_range_body body, const void *context)
{
    run(count, threads, body, context, 1);
}
