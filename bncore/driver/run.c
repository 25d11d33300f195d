#include "run.h"

#include "gather.h"
#include "integers.h"
#include "parallel.h"

bn_plan bn_plan_for(const bn_call *call, bn_partition cut, int has_sums)
{
    const bn_tensors *t = &call->tensors;
    const bn_tensor *each = (const bn_tensor *)t;
    int tensors = 0;
    for (int i = 0; i < BN_TENSORS; i++) tensors += each[i].data != NULL;
    const int backward = t->dy.data != NULL, reads_y = backward && t->y.data;
    const int read = has_sums ? 1 + backward + reads_y : 0; /* by both passes */
    return bn_make_plan(cut, call->kernels->itemsize, tensors, read, call->values.span, call->threads);
}

/* ---- one chunk ---- */

typedef enum { UNUSED, READ, WRITTEN } use;

/* What a step that sums, or one that writes, does with a tensor of the call. */
static use use_of(const bn_operation *op, int tensor, int writes)
{
    const int backward = op->call->tensors.dy.data != NULL;
    switch (tensor) {
    case BN_X:
    case BN_DY: return READ;
    case BN_RESIDUAL: return writes ? READ : UNUSED;
    case BN_Y: return backward ? READ : writes ? WRITTEN : UNUSED;
    default: return writes ? WRITTEN : UNUSED;
    }
}

/* A step on one chunk. The part of a tensor that does not fit the layout is a copy in the worker's buffers;
   so is that of a dy that is pooled. */
static void on_part(const bn_operation *op, const bn_plan *plan, bn_chunk_step step,
                    const bn_chunk *chunk, ptrdiff_t k, int worker)
{
    const bn_call *call = op->call;
    const ptrdiff_t itemsize = call->kernels->itemsize;
    const int writes = step == op->steps->write;
    const bn_tensor *whole = (const bn_tensor *)&call->tensors;
    char *buffer = op->gathered + worker * op->gathers * op->gathered_bytes;
    bn_tensors tensors;
    bn_tensor *part = (bn_tensor *)&tensors;
    for (int i = 0; i < BN_TENSORS; i++) {
        if (call->pooled && i == BN_DY) {
            part[i] = bn_gathered(chunk, buffer, itemsize);
            bn_spread_chunk(call->pooled, chunk, buffer);
            continue;
        }
        if (!call->gathered[i]) {
            part[i] = bn_chunk_of(&plan->cut, chunk, whole[i], itemsize);
            continue;
        }
        const bn_strided from = {whole[i].data, call->gathered[i]};
        part[i] = bn_gathered(chunk, buffer, itemsize);
        if (use_of(op, i, writes) == READ) bn_gather(&plan->cut, chunk, from, itemsize, buffer);
        buffer += op->gathered_bytes;
    }
    const ptrdiff_t run = chunk->column * call->kernels->realsize;
    tensors.run_weight = op->run_weight ? op->run_weight + run : NULL;
    tensors.run_bias = op->run_weight ? op->run_bias + run : NULL;
    step(op, &tensors, chunk, k);
    for (int i = 0; op->gathers && i < BN_TENSORS; i++) {
        const bn_strided to = {whole[i].data, call->gathered[i]};
        if (to.strides && use_of(op, i, writes) == WRITTEN)
            bn_scatter(&plan->cut, chunk, to, itemsize, part[i].data);
    }
}

/* Chunk k of channels `begin` to `end`; only so many at a time as the buffers hold. */
static void on_chunk(const bn_operation *op, const bn_plan *plan, bn_chunk_step step, ptrdiff_t k,
                     ptrdiff_t begin, ptrdiff_t end, int worker)
{
    const int by_channels = op->gathers && !op->call->pooled;
    const ptrdiff_t most = by_channels ? bn_gather_channels(&plan->cut) : end - begin;
    for (ptrdiff_t c = begin; c < end; c += most) {
        const bn_chunk chunk = bn_plan_chunk(plan, k, c, bn_min(c + most, end));
        on_part(op, plan, step, &chunk, k, worker);
    }
}

/* ---- one pass over the chunks of channels `begin` to `end` ---- */

typedef void (*chunk_loop)(const bn_operation *op, const bn_plan *plan, bn_chunk_step step,
                           ptrdiff_t begin, ptrdiff_t end, int worker);

static void on_this_thread(const bn_operation *op, const bn_plan *plan, bn_chunk_step step,
                           ptrdiff_t begin, ptrdiff_t end, int worker)
{
    for (ptrdiff_t k = 0; k < plan->cut.chunks; k++)
        on_chunk(op, plan, step, k, begin, end, worker);
}

/* Items that threads share: each chunk of each block. */
typedef struct {
    const bn_operation *op;
    const bn_plan *plan;
    bn_chunk_step step;
    ptrdiff_t begin, end, blocks;
    int backwards;
} shared_pass;

static void pass_items(const void *context, ptrdiff_t first, ptrdiff_t last, int worker)
{
    const shared_pass *s = context;
    const bn_plan *plan = s->plan;
    for (ptrdiff_t item = first; item < last; item++) {
        const ptrdiff_t i = s->backwards ? first + last - 1 - item : item;
        const ptrdiff_t block = plan->row_by_row ? i % s->blocks : i / plan->cut.chunks;
        const ptrdiff_t k = plan->row_by_row ? i / s->blocks : i % plan->cut.chunks;
        const ptrdiff_t begin = s->begin + block * plan->block;
        on_chunk(s->op, plan, s->step, k, begin, bn_min(begin + plan->block, s->end), worker);
    }
}

static void run_shared(shared_pass s)
{
    s.blocks = bn_ceil_div(s.end - s.begin, s.plan->block);
    const ptrdiff_t items = s.blocks * s.plan->cut.chunks;
    if (s.backwards) bn_parallel_for_backwards(items, s.plan->threads, pass_items, &s);
    else bn_parallel_for(items, s.plan->threads, pass_items, &s);
}

static void on_all_threads(const bn_operation *op, const bn_plan *plan, bn_chunk_step step,
                           ptrdiff_t begin, ptrdiff_t end, int worker)
{
    (void)worker;
    run_shared((shared_pass){.op = op, .plan = plan, .step = step, .begin = begin, .end = end});
}

/* The last chunks first: what the pass before read last may still be in a cache. */
static void on_all_threads_backwards(const bn_operation *op, const bn_plan *plan,
                                     bn_chunk_step step, ptrdiff_t begin, ptrdiff_t end)
{
    run_shared((shared_pass){
        .op = op, .plan = plan, .step = step, .begin = begin, .end = end, .backwards = 1});
}

/* ---- the passes ---- */

/* Sum channels in the way of this state. Returns the states of those that must be summed again. */
static unsigned sum_in_state(const bn_operation *op, chunk_loop loop, ptrdiff_t begin, ptrdiff_t end,
                        bn_sum_state state, int worker)
{
    const bn_steps *steps = op->steps;
    const bn_chunk_step sum = bn_is_in_double(state) ? steps->sum_in_double : steps->sum;
    loop(op, &op->plan, sum, begin, end, worker);
    return steps->take_sums(op, begin, end, state);
}

/* Sum those channels again that are in this state. Where rows hold several columns of each channel, all
   are summed, but the sums of the others are not taken: a channel's result does not depend on its
   neighbours. */
static unsigned sum_again(const bn_operation *op, chunk_loop loop, ptrdiff_t begin, ptrdiff_t end,
                          bn_sum_state state, int worker)
{
    unsigned states = 0;
    const int together = op->call->layout.fold > 1;
    const ptrdiff_t span = bn_summed_together(op);
    for (ptrdiff_t c = begin, last; c < end; c = last) {
        last = c + span;
        if (op->state[c / span] != state) continue;
        while (last < end && op->state[last / span] == state) last += span;
        if (together) c = begin, last = end;
        states |= sum_in_state(op, loop, c, last, state, worker);
    }
    return states;
}

static void sum_channels(const bn_operation *op, chunk_loop loop, ptrdiff_t begin, ptrdiff_t end,
                         int worker)
{
    const bn_steps *steps = op->steps;
    steps->before(op, begin, end);
    if (!steps->sum) return;
    unsigned states = sum_in_state(op, loop, begin, end, BN_FIRST, worker);
    for (bn_sum_state state = BN_ABOUT_MEAN; states && state < BN_SUMMED; state++)
        if (states & bn_bit_of(state)) states |= sum_again(op, loop, begin, end, state, worker);
    if (steps->between) steps->between(op, begin, end);
}

static void sum_blocks(const void *context, ptrdiff_t first, ptrdiff_t last, int worker)
{
    const bn_operation *op = context;
    for (ptrdiff_t block = first; block < last; block++) {
        const ptrdiff_t begin = block * op->plan.block;
        sum_channels(op, on_this_thread, begin,
                     bn_min(begin + op->plan.block, op->call->layout.channels), worker);
    }
}

static void sum_and_write_parts(const void *context, ptrdiff_t first, ptrdiff_t last, int worker)
{
    const bn_operation *op = context;
    const bn_plan *plan = &op->plan;
    for (ptrdiff_t part = first; part < last; part++) {
        const ptrdiff_t stop = bn_min((part + 1) * plan->part, op->call->layout.channels);
        for (ptrdiff_t begin = part * plan->part, end; begin < stop; begin = end) {
            end = bn_min(begin + plan->block, stop);
            sum_channels(op, on_this_thread, begin, end, worker);
            if (op->steps->write) on_this_thread(op, plan, op->steps->write, begin, end, worker);
        }
    }
}

static void for_each(const bn_operation *op, ptrdiff_t channels, bn_range_body body)
{
    bn_parallel_for(bn_ceil_div(op->call->layout.channels, channels), op->plan.threads, body, op);
}

void bn_run(const bn_operation *op)
{
    const ptrdiff_t channels = op->call->layout.channels;
    const bn_chunk_step write = op->steps->write;
    switch (op->plan.how) {
    case BN_OWN: for_each(op, op->plan.part, sum_and_write_parts); break;
    case BN_APART:
        for_each(op, op->plan.block, sum_blocks);
        if (write) {
            const bn_plan plan = bn_plan_for(op->call, bn_cut_fine(&op->call->layout), 0);
            on_all_threads_backwards(op, &plan, write, 0, channels);
        }
        break;
    case BN_SHARED:
        for (ptrdiff_t begin = 0, end; begin < channels; begin = end) {
            end = bn_min(begin + op->plan.group, channels);
            sum_channels(op, on_all_threads, begin, end, 0);
            if (write) on_all_threads_backwards(op, &op->plan, write, begin, end);
        }
        break;
    }
}
