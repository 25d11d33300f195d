#include "elementwise.h"

#include "integers.h"
#include "parallel.h"

enum {
    BLOCK = 4096,         /* values; even, as dropout needs it, and whole cache lines */
    SERIAL_BELOW = 65536, /* values: fewer take 3 to 18 microseconds, about as long as to wake a thread */
};

typedef struct {
    bn_elementwise_kernel kernel;
    void *const *tensor;
    ptrdiff_t count;
    const void *options;
} pass;

static void run_blocks(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    (void)worker;
    const pass *p = context;
    p->kernel(p->tensor, begin * BLOCK, bn_min(end * BLOCK, p->count), p->options);
}

void bn_elementwise(bn_elementwise_kernel kernel, void *const *tensor, ptrdiff_t count, int threads,
                    const void *options)
{
    const pass p = {.kernel = kernel, .tensor = tensor, .count = count, .options = options};
    if (count < SERIAL_BELOW) threads = 1;
    bn_parallel_for(bn_ceil_div(count, BLOCK), threads, run_blocks, &p);
}

/* ---- several jobs ---- */

typedef struct {
    const bn_elementwise_job *job;
    ptrdiff_t jobs;
} job_list;

/* The number of the job to which a block belongs. Jobs without values have no block. */
static ptrdiff_t job_of(const job_list *list, ptrdiff_t block)
{
    ptrdiff_t low = 0, high = list->jobs;
    while (high - low > 1) {
        const ptrdiff_t middle = low + (high - low) / 2;
        if (list->job[middle].first_block <= block) low = middle;
        else high = middle;
    }
    return low;
}

static void run_jobs(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    (void)worker;
    const job_list *list = context;
    for (ptrdiff_t i = job_of(list, begin), block = begin; block < end; i++) {
        const bn_elementwise_job *job = &list->job[i];
        const ptrdiff_t own = block - job->first_block;
        const ptrdiff_t stop = bn_min(end - job->first_block, bn_ceil_div(job->count, BLOCK));
        if (own >= stop) continue;
        job->kernel(job->tensor, own * BLOCK, bn_min(stop * BLOCK, job->count), job->options);
        block = job->first_block + stop;
    }
}

void bn_elementwise_jobs(bn_elementwise_job *job, ptrdiff_t jobs, int threads)
{
    const job_list list = {.job = job, .jobs = jobs};
    ptrdiff_t blocks = 0, values = 0;
    for (ptrdiff_t i = 0; i < jobs; i++) {
        job[i].first_block = blocks;
        blocks += bn_ceil_div(job[i].count, BLOCK);
        values += job[i].count;
    }
    if (values < SERIAL_BELOW) threads = 1;
    bn_parallel_for(blocks, threads, run_jobs, &list);
}
