#include "samples.h"

#include <stdatomic.h>

#include "parallel.h"

typedef struct {
    const bn_call *call;
    ptrdiff_t bytes;
    double *count, *mean, *m2, *sum_g, *sum_g_xm;
    int threads;         /* of each sample */
    atomic_int *failed;
} work;

static bn_call call_of(const work *w, ptrdiff_t sample)
{
    bn_call call = *w->call;
    bn_tensor *tensors = (bn_tensor *)&call.tensors;
    for (int i = 0; i < BN_TENSORS; i++)
        if (tensors[i].data) tensors[i].data += sample * w->bytes;
    const ptrdiff_t first = sample * (call.layout.channels / call.values.span);
    if (call.values.mean) call.values.mean += first;
    if (call.values.var) call.values.var += first;
    if (call.values.count) call.values.count += first;
    call.threads = w->threads;
    return call;
}

static void on_samples(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    (void)worker;
    const work *w = context;
    for (ptrdiff_t i = begin; i < end; i++) {
        const bn_call call = call_of(w, i);
        const ptrdiff_t channel = i * call.layout.channels, statistic = channel / call.values.span;
        const int found =
            w->sum_g ? bn_backward(&call, w->sum_g + channel, w->sum_g_xm + channel)
                     : bn_forward(&call, w->count + statistic, w->mean + statistic, w->m2 + statistic);
        if (!found) atomic_store(w->failed, 1);
    }
}

/* Threads take samples of their own where there are enough, else they share each sample. */
static int run(work w, ptrdiff_t samples)
{
    atomic_int failed = 0;
    const int threads = w.call->threads;
    w.failed = &failed;
    w.threads = samples < threads ? threads : 1;
    if (samples < threads) on_samples(&w, 0, samples, 0);
    else bn_parallel_for(samples, threads, on_samples, &w);
    return !atomic_load(&failed);
}

int bn_forward_samples(const bn_call *call, ptrdiff_t samples, ptrdiff_t bytes, double *count,
                       double *mean, double *m2)
{
    return run((work){.call = call, .bytes = bytes, .count = count, .mean = mean, .m2 = m2}, samples);
}

int bn_backward_samples(const bn_call *call, ptrdiff_t samples, ptrdiff_t bytes, double *sum_g,
                        double *sum_g_xm)
{
    return run((work){.call = call, .bytes = bytes, .sum_g = sum_g, .sum_g_xm = sum_g_xm}, samples);
}
