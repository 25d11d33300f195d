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
