#include "operations.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "kernels/moments.h"
#include "run.h"

/* ---- passes over a chunk ---- */

static bn_chunk chunk_at(const bn_plan *plan, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t end)
{
    bn_chunk chunk = bn_chunk_at(&plan->cut, k, begin, end - begin);
    chunk.extent.tile = plan->tile;
    return chunk;
}

static bn_tensors chunk_of(const bn_operation *op, const bn_plan *plan, const bn_chunk *chunk)
{
    const bn_tensors *whole = &op->call->tensors;
    const ptrdiff_t itemsize = op->call->kernels->itemsize;
    return (bn_tensors){.x = bn_chunk_of(&plan->cut, chunk, whole->x, itemsize),
                        .residual = bn_chunk_of(&plan->cut, chunk, whole->residual, itemsize),
                        .y = bn_chunk_of(&plan->cut, chunk, whole->y, itemsize),
                        .dy = bn_chunk_of(&plan->cut, chunk, whole->dy, itemsize),
                        .dx = bn_chunk_of(&plan->cut, chunk, whole->dx, itemsize),
                        .dresidual = bn_chunk_of(&plan->cut, chunk, whole->dresidual, itemsize)};
}

static bn_coefficients coefficients_from(const bn_operation *op, ptrdiff_t channel)
{
    const ptrdiff_t bytes = channel * op->call->kernels->realsize;
    const bn_coefficients *k = &op->coefficients;
    return (bn_coefficients){.mean = (char *)k->mean + bytes,
                             .scale = (char *)k->scale + bytes,
                             .shift = (char *)k->shift + bytes,
                             .mean_g = (char *)k->mean_g + bytes,
                             .slope = (char *)k->slope + bytes};
}

static void stats_pass(const bn_operation *op, const bn_plan *plan, ptrdiff_t k, ptrdiff_t begin,
                       ptrdiff_t end)
{
    const bn_chunk chunk = chunk_at(plan, k, begin, end);
    const bn_tensors t = chunk_of(op, plan, &chunk);
    const ptrdiff_t at = k * op->call->layout.channels + begin;
    op->call->kernels->stats(t.x, chunk.extent, op->offset + begin, op->sum_a + at, op->sum_b + at);
}

static void reduce_pass(const bn_operation *op, const bn_plan *plan, ptrdiff_t k, ptrdiff_t begin,
                        ptrdiff_t end)
{
    const bn_chunk chunk = chunk_at(plan, k, begin, end);
    const bn_tensors t = chunk_of(op, plan, &chunk);
    const ptrdiff_t at = k * op->call->layout.channels + begin;
    op->call->kernels->reduce(&t, chunk.extent, coefficients_from(op, begin), &op->epilogue,
                              op->sum_a + at, op->sum_b + at);
}

static void normalize_pass(const bn_operation *op, const bn_plan *plan, ptrdiff_t k,
                           ptrdiff_t begin, ptrdiff_t end)
{
    const bn_chunk chunk = chunk_at(plan, k, begin, end);
    const bn_tensors t = chunk_of(op, plan, &chunk);
    op->call->kernels->normalize(&t, chunk.extent, coefficients_from(op, begin), &op->epilogue);
}

static void gradient_pass(const bn_operation *op, const bn_plan *plan, ptrdiff_t k, ptrdiff_t begin,
                          ptrdiff_t end)
{
    const bn_chunk chunk = chunk_at(plan, k, begin, end);
    const bn_tensors t = chunk_of(op, plan, &chunk);
    op->call->kernels->gradient(&t, chunk.extent, coefficients_from(op, begin), &op->epilogue);
}

/* ---- steps before the passes: what a pass needs of each channel ---- */

/* Repeat the channels' values for each of the rows that are taken together as one. */
static void repeat(const bn_layout *layout, void *values, ptrdiff_t itemsize)
{
    const ptrdiff_t bytes = layout->channels * itemsize;
    for (ptrdiff_t f = 1; f < layout->fold; f++) memcpy((char *)values + f * bytes, values, bytes);
}

static void guess_offset(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_layout *layout = &op->call->layout;
    const bn_extent all = {.rows = layout->outer, .channels = end - begin, .n = layout->inner};
    bn_tensor x = op->call->tensors.x;
    x.data += begin * x.channel_stride;
    op->call->kernels->guess_offset(x, all, op->offset + begin);
    repeat(layout, op->offset, sizeof *op->offset);
}

static void prepare_normalize(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_call *call = op->call;
    call->kernels->prepare_normalize(&op->values, begin, end, &op->coefficients);
    repeat(&call->layout, op->coefficients.mean, call->kernels->realsize);
    repeat(&call->layout, op->coefficients.scale, call->kernels->realsize);
    repeat(&call->layout, op->coefficients.shift, call->kernels->realsize);
}

static void prepare_gradient(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_call *call = op->call;
    call->kernels->prepare_gradient(&op->values, begin, end, &op->coefficients);
    repeat(&call->layout, op->coefficients.mean_g, call->kernels->realsize);
    repeat(&call->layout, op->coefficients.slope, call->kernels->realsize);
}

static void prepare_both(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    prepare_normalize(op, begin, end);
    prepare_gradient(op, begin, end);
}

/* ---- steps between the passes: from the chunks' sums to results ---- */

/* Add the sums of all chunks to those of the first. */
static void add_chunks(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const ptrdiff_t channels = op->call->layout.channels;
    double *restrict a = op->sum_a, *restrict b = op->sum_b;
    for (ptrdiff_t k = 1; k < op->plan.cut.chunks; k++)
        for (ptrdiff_t c = begin; c < end; c++) {
            a[c] += a[k * channels + c];
            b[c] += b[k * channels + c];
        }
}

static int find_moments(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, int again)
{
    const bn_layout *layout = &op->call->layout;
    const double count = (double)layout->outer * (double)layout->inner;
    int good = 1;
    add_chunks(op, begin, end);
    for (ptrdiff_t c = begin; c < end; c++) {
        double mean;
        bn_moments(count, op->offset[c], op->sum_a[c], op->sum_b[c], &mean, &op->m2[c]);
        op->count[c] = count;
        if (!again && !bn_moments_good(op->sum_b[c], op->m2[c]) && isfinite(mean)) {
            op->offset[c] = mean; /* sum again about the mean: that cancels nothing */
            good = 0;
        }
        op->mean[c] = mean;
    }
    if (!good) repeat(layout, op->offset, sizeof *op->offset);
    return good;
}

static int find_moments_and_prepare(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end,
                                    int again)
{
    if (!find_moments(op, begin, end, again)) return 0;
    for (ptrdiff_t c = begin; c < end; c++) op->var[c] = op->m2[c] / op->count[c];
    prepare_normalize(op, begin, end);
    return 1;
}

static int find_sums(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, int again)
{
    (void)again;
    add_chunks(op, begin, end);
    for (ptrdiff_t c = begin; c < end; c++) {
        op->sum_g[c] = op->sum_a[c];
        op->sum_g_xm[c] = op->sum_b[c];
    }
    op->call->kernels->correct_for_mean(op->values.mean, begin, end, op->sum_g, op->sum_g_xm);
    return 1;
}

static int find_sums_and_prepare(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, int again)
{
    find_sums(op, begin, end, again);
    prepare_gradient(op, begin, end);
    return 1;
}

/* ---- work space ---- */

static void lay_out(bn_operation *op, bn_arena *a)
{
    const bn_layout *layout = &op->call->layout;
    const size_t row = (layout->fold * layout->channels + BN_PAD) * sizeof(double);
    const size_t sums = op->plan.cut.chunks * layout->channels * sizeof(double);
    op->coefficients.mean = bn_take(a, row);
    op->coefficients.scale = bn_take(a, row);
    op->coefficients.shift = bn_take(a, row);
    op->coefficients.mean_g = bn_take(a, row);
    op->coefficients.slope = bn_take(a, row);
    op->offset = bn_take(a, row);
    op->var = bn_take(a, row);
    if (op->steps->sum) {
        op->sum_a = bn_take(a, sums);
        op->sum_b = bn_take(a, sums);
    }
}

/* Run the operation with work space. Returns 0 if there is no memory for it. */
static int run_with_workspace(bn_operation *op)
{
    bn_arena counted = {0};
    lay_out(op, &counted);
    char *memory = malloc(counted.used + BN_LINE);
    if (!memory) return 0;
    lay_out(op, &(bn_arena){.memory = (char *)bn_whole_lines((size_t)memory)});
    if (op->mean) op->values.mean = op->mean, op->values.var = op->var;
    if (op->sum_g) op->values.sum_g = op->sum_g, op->values.sum_g_xm = op->sum_g_xm;
    bn_run(op);
    free(memory);
    return 1;
}

/* ---- the operations ---- */

static bn_operation operation(const bn_call *call, const bn_steps *steps)
{
    const bn_partition cut = steps->sum ? bn_cut(&call->layout) : bn_cut_fine(&call->layout);
    const bn_plan plan = bn_plan_for(call, cut, steps->sum != NULL);
    return (bn_operation){.call = call,
                          .steps = steps,
                          .plan = plan,
                          .values = call->values,
                          .epilogue = {.activation = call->activation,
                                       .negative_slope = call->negative_slope,
                                       .stream = plan.from_memory}};
}

int bn_stats(const bn_call *call, double *count, double *mean, double *m2)
{
    static const bn_steps steps = {
        .before = guess_offset, .sum = stats_pass, .between = find_moments};
    bn_operation op = operation(call, &steps);
    op.count = count, op.mean = mean, op.m2 = m2;
    return run_with_workspace(&op);
}

int bn_normalize(const bn_call *call)
{
    static const bn_steps steps = {.before = prepare_normalize, .write = normalize_pass};
    bn_operation op = operation(call, &steps);
    return run_with_workspace(&op);
}

int bn_forward(const bn_call *call, double *count, double *mean, double *m2)
{
    static const bn_steps steps = {.before = guess_offset,
                                   .sum = stats_pass,
                                   .between = find_moments_and_prepare,
                                   .write = normalize_pass};
    bn_operation op = operation(call, &steps);
    op.count = count, op.mean = mean, op.m2 = m2;
    return run_with_workspace(&op);
}

int bn_reduce(const bn_call *call, double *sum_g, double *sum_g_xm)
{
    static const bn_steps steps = {
        .before = prepare_normalize, .sum = reduce_pass, .between = find_sums};
    bn_operation op = operation(call, &steps);
    op.sum_g = sum_g, op.sum_g_xm = sum_g_xm;
    return run_with_workspace(&op);
}

int bn_gradient(const bn_call *call)
{
    static const bn_steps steps = {.before = prepare_both, .write = gradient_pass};
    bn_operation op = operation(call, &steps);
    return run_with_workspace(&op);
}

int bn_backward(const bn_call *call, double *sum_g, double *sum_g_xm)
{
    static const bn_steps steps = {.before = prepare_normalize,
                                   .sum = reduce_pass,
                                   .between = find_sums_and_prepare,
                                   .write = gradient_pass};
    bn_operation op = operation(call, &steps);
    op.sum_g = sum_g, op.sum_g_xm = sum_g_xm;
    return run_with_workspace(&op);
}
