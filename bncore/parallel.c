#include "parallel.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* What bn_set_max_threads asked for, and OpenMP's own number at that time. */
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
    /* asked at every call: threadpoolctl and omp_set_num_threads act on the calling thread */
    int openmp_now = openmp_threads();
    if (!asked || !bn_has_openmp()) return openmp_now;
    return openmp_now < openmp_then && openmp_now < asked ? openmp_now : asked;
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

int bn_release_threads(void)
{
#if defined(_OPENMP) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9
    return omp_pause_resource_all(omp_pause_soft) == 0;
#else
    return 1; /* LLVM's runtime restarts after fork by itself */
#endif
}

void bn_parallel_for(ptrdiff_t count, int threads, bn_range_body body, const void *context)
{
    if (threads > count) threads = (int)count;
    if (threads <= 1) {
        body(context, 0, count);
        return;
    }
#ifdef _OPENMP
    /* a few ranges for each thread: a late one is helped, and taking a range stays cheap */
    ptrdiff_t ranges = (ptrdiff_t)threads * 4 < count ? (ptrdiff_t)threads * 4 : count, i;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (i = 0; i < ranges; i++)
        body(context, count / ranges * i + (i < count % ranges ? i : count % ranges),
             count / ranges * (i + 1) + (i + 1 < count % ranges ? i + 1 : count % ranges));
#endif
}
