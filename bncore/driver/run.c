#include "run.h"

#include "integers.h"
#include "parallel.h"

bn_plan bn_plan_for(const bn_call *call, bn_partition cut, int has_sums)
{
    const bn_tensors *t = &call->tensors;
    const bn_tensor *each = (const bn_tensor *)t;
    int tensors = 0;
    for (int i = 0; i < BN_MAX_TENSORS; i++) tensors += each[i].data != NULL;
    const int backward = t->dy.data != NULL, reads_y = backward && t->y.data;
    const int read = has_sums ? 1 + backward + reads_y : 0; /* by both passes */
    return bn_make_plan(cut, call->kernels->itemsize, tensors, read, call->threads);
}

/* ---- one pass over the chunks of channels `begin` to `end` ---- */

typedef void (*chunk_loop)(const bn_operation *op, const bn_plan *plan, bn_chunk_pass pass,
                           ptrdiff_t begin, ptrdiff_t end);

static void on_this_thread(const bn_operation *op, const bn_plan *plan, bn_chunk_pass pass,
                           ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t k = 0; k < plan->cut.chunks; k++) pass(op, plan, k, begin, end);
}

/* Items that threads share: each chunk of each block. */
typedef struct {
    const bn_operation *op;
    const bn_plan *plan;
    bn_chunk_pass pass;
    ptrdiff_t begin, end, blocks, items;
    int backwards;
} shared_pass;

static void pass_items(const void *context, ptrdiff_t first, ptrdiff_t last, int worker)
{
    (void)worker;
    const shared_pass *s = context;
    const bn_plan *plan = s->plan;
    for (ptrdiff_t item = first; item < last; item++) {
        const ptrdiff_t i = s->backwards ? s->items - 1 - item : item;
        const ptrdiff_t block = plan->row_by_row ? i % s->blocks : i / plan->cut.chunks;
        const ptrdiff_t k = plan->row_by_row ? i / s->blocks : i % plan->cut.chunks;
        const ptrdiff_t begin = s->begin + block * plan->block;
        s->pass(s->op, plan, k, begin, bn_min(begin + plan->block, s->end));
    }
}

static void run_shared(shared_pass s)
{
    s.blocks = bn_ceil_div(s.end - s.begin, s.plan->block);
    s.items = s.blocks * s.plan->cut.chunks;
    bn_parallel_for(s.items, s.plan->threads, pass_items, &s);
}

static void on_all_threads(const bn_operation *op, const bn_plan *plan, bn_chunk_pass pass,
                           ptrdiff_t begin, ptrdiff_t end)
{
    run_shared((shared_pass){.op = op, .plan = plan, .pass = pass, .begin = begin, .end = end});
}

/* The last chunks first: what the pass before read last may still be in a cache. */
static void on_all_threads_backwards(const bn_operation *op, const bn_plan *plan,
                                     bn_chunk_pass pass, ptrdiff_t begin, ptrdiff_t end)
{
    run_shared((shared_pass){
        .op = op, .plan = plan, .pass = pass, .begin = begin, .end = end, .backwards = 1});
}

/* ---- the passes ---- */

static void sum_channels(const bn_operation *op, chunk_loop loop, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_steps *steps = op->steps;
    steps->before(op, begin, end);
    if (!steps->sum) return;
    for (int again = 0;; again = 1) {
        loop(op, &op->plan, steps->sum, begin, end);
        if (steps->between(op, begin, end, again)) return;
    }
}

static void sum_blocks(const void *context, ptrdiff_t first, ptrdiff_t last, int worker)
{
    (void)worker;
    const bn_operation *op = context;
    for (ptrdiff_t block = first; block < last; block++) {
        const ptrdiff_t begin = block * op->plan.block;
        sum_channels(op, on_this_thread, begin,
                     bn_min(begin + op->plan.block, op->call->layout.channels));
    }
}

static void sum_and_write_blocks(const void *context, ptrdiff_t first, ptrdiff_t last, int worker)
{
    (void)worker;
    const bn_operation *op = context;
    for (ptrdiff_t block = first; block < last; block++) {
        const ptrdiff_t begin = block * op->plan.block;
        const ptrdiff_t end = bn_min(begin + op->plan.block, op->call->layout.channels);
        sum_channels(op, on_this_thread, begin, end);
        if (op->steps->write) on_this_thread(op, &op->plan, op->steps->write, begin, end);
    }
}

static void for_each_block(const bn_operation *op, bn_range_body body)
{
    const bn_plan *plan = &op->plan;
    bn_parallel_for(bn_ceil_div(op->call->layout.channels, plan->block), plan->threads, body, op);
}

void bn_run(const bn_operation *op)
{
    const ptrdiff_t channels = op->call->layout.channels;
    const bn_chunk_pass write = op->steps->write;
    switch (op->plan.how) {
    case BN_OWN: for_each_block(op, sum_and_write_blocks); break;
    case BN_APART:
        for_each_block(op, sum_blocks);
        if (write) {
            const bn_plan plan = bn_plan_for(op->call, bn_cut_fine(&op->call->layout), 0);
            on_all_threads_backwards(op, &plan, write, 0, channels);
        }
        break;
    case BN_SHARED:
        for (ptrdiff_t begin = 0, end; begin < channels; begin = end) {
            end = bn_min(begin + op->plan.group, channels);
            sum_channels(op, on_all_threads, begin, end);
            if (write) on_all_threads_backwards(op, &op->plan, write, begin, end);
        }
        break;
    }
}
