#include "operations.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "arena.h"
#include "gather.h"
#include "integers.h"
#include "kernels/moments.h"
#include "memory.h"
#include "run.h"

/* ---- kernels on a chunk ---- */

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

static void stats(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk, ptrdiff_t k,
                  int in_double)
{
    const ptrdiff_t at = k * op->call->layout.channels + chunk->channel;
    op->call->kernels->stats(t->x, chunk->extent, coefficients_from(op, chunk->channel), in_double,
                             op->sum_a + at, op->sum_b + at);
}

static void sum_x(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk, ptrdiff_t k)
{
    stats(op, t, chunk, k, 0);
}

static void sum_x_in_double(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk,
                            ptrdiff_t k)
{
    stats(op, t, chunk, k, 1);
}

static void reduce(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk, ptrdiff_t k,
                   int in_double)
{
    const ptrdiff_t at = k * op->call->layout.channels + chunk->channel;
    op->call->kernels->reduce(t, chunk->extent, coefficients_from(op, chunk->channel), &op->epilogue,
                              in_double, op->sum_a + at, op->sum_b + at);
}

static void sum_dy(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk, ptrdiff_t k)
{
    reduce(op, t, chunk, k, 0);
}

static void sum_dy_in_double(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk,
                            ptrdiff_t k)
{
    reduce(op, t, chunk, k, 1);
}

static void write_y(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk, ptrdiff_t k)
{
    (void)k;
    op->call->kernels->normalize(t, chunk->extent, coefficients_from(op, chunk->channel),
                                 &op->epilogue);
}

static void write_dx(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk, ptrdiff_t k)
{
    (void)k;
    op->call->kernels->gradient(t, chunk->extent, coefficients_from(op, chunk->channel),
                                &op->epilogue);
}

/* ---- steps before the passes: what a pass needs of each channel ---- */

/* Repeat the channels' values for each of the rows that are taken together as one. */
static void repeat(const bn_layout *layout, void *values, ptrdiff_t itemsize)
{
    const ptrdiff_t bytes = layout->channels * itemsize;
    for (ptrdiff_t f = 1; f < layout->fold; f++) memcpy((char *)values + f * bytes, values, bytes);
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

/* Kernels subtract the guess like a mean. */
static void prepare_guess(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_call *call = op->call;
    const bn_channel_values values = {.span = 1, .parameters = call->layout.channels, .mean = op->guess};
    call->kernels->prepare_normalize(&values, begin, end, &op->coefficients);
    repeat(&call->layout, op->coefficients.mean, call->kernels->realsize);
}

/* Planar, each sample is a cache line of its own, and a bad guess costs a second look at one channel only.
   Channels-last, samples cost little, and a bad guess may cost a second look at the whole tensor. */
static int samples_for(const bn_layout *layout)
{
    return layout->channels_last ? BN_SAMPLES : BN_SAMPLES / 4;
}

/* Guess the mean from values spread over the channel. Multiples of the golden ratio, modulo 1, are spread
   evenly, and no pattern that repeats in the data falls into step with them. */
static void guess_mean(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_call *call = op->call;
    const bn_layout *layout = &call->layout;
    const ptrdiff_t itemsize = call->kernels->itemsize, channels = end - begin;
    const ptrdiff_t *strides = call->gathered[BN_X];
    const bn_tensor x = call->tensors.x;
    const ptrdiff_t count = layout->outer * layout->inner;
    const int samples = samples_for(layout);
    ptrdiff_t places[BN_SAMPLES];
    for (int k = 0; k < samples; k++) {
        const double turns = (k + 0.5) * 0.6180339887498949;
        const ptrdiff_t i = (ptrdiff_t)((turns - floor(turns)) * (double)count);
        places[k] = strides ? bn_distance(layout, strides, i)
                            : i / layout->inner * x.row_stride + i % layout->inner * itemsize;
    }
    call->kernels->guess_mean(x.data + begin * x.channel_stride, places, samples, x.channel_stride,
                              channels, op->guess + begin, op->spread + begin);
    prepare_guess(op, begin, end);
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

/* Below this, squares of float32 lose digits, and small ones vanish. */
static const double SMALLEST_SQUARE = 0x1p-116, SMALLEST_PRODUCT = 0x1p-100;

static int sums_in_double(const bn_operation *op)
{
    return op->call->kernels->realsize == sizeof(double);
}

static double count_of(const bn_operation *op)
{
    const bn_layout *layout = &op->call->layout;
    return (double)layout->outer * (double)layout->inner;
}

/* Fill count, mean and m2 as if all sums were good. Returns whether they are. There is no branch, so that
   the loop can be vectorized. */
static int find_moments(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const double n = count_of(op), smallest = n * (sums_in_double(op) ? DBL_MIN : SMALLEST_SQUARE);
    const double *restrict sum = op->sum_a, *restrict squares = op->sum_b, *restrict guess = op->guess;
    double *restrict count = op->count, *restrict mean = op->mean, *restrict m2 = op->m2;
    int good = 1;
    for (ptrdiff_t c = begin; c < end; c++) {
        count[c] = n;
        bn_moments(n, guess[c], sum[c], squares[c], &mean[c], &m2[c]);
        good &= bn_moments_good(squares[c], m2[c]) & (squares[c] >= smallest) & (squares[c] <= DBL_MAX);
    }
    return good;
}

/* Whether the sums of a channel show that its values differ. The guess of a constant channel may be wrong by
   less than DBL_MIN, since the samples are divided before they are added. */
static int values_differ(const bn_operation *op, ptrdiff_t c)
{
    return op->spread[c] > 0 || op->sum_b[c] > 0 || fabs(op->sum_a[c]) > count_of(op) * DBL_MIN;
}

/* What a channel needs that was summed in this state. */
static bn_sum_state next_state(const bn_operation *op, ptrdiff_t c, bn_sum_state state)
{
    const double sum = op->sum_a[c], squares = op->sum_b[c];
    const int in_double = bn_is_in_double(state) || sums_in_double(op);
    const int constant = sum == 0 && squares == 0 && op->spread[c] == 0;
    const int lost = !isfinite(sum) || !isfinite(squares) || squares < count_of(op) * SMALLEST_SQUARE;
    if (lost && !constant && !in_double) return BN_IN_DOUBLE;
    const int about_mean = state == BN_ABOUT_MEAN || state == BN_IN_DOUBLE_ABOUT_MEAN;
    if (about_mean || bn_moments_good(squares, op->m2[c]) || !isfinite(op->mean[c])) return BN_SUMMED;
    return bn_is_in_double(state) ? BN_IN_DOUBLE_ABOUT_MEAN : BN_ABOUT_MEAN;
}

static int take_moments(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, bn_sum_state state)
{
    add_chunks(op, begin, end);
    if (state == BN_FIRST && find_moments(op, begin, end)) return 1;
    for (ptrdiff_t c = begin; c < end; c++) {
        if (state != BN_FIRST && op->state[c] != state) continue;
        bn_moments(count_of(op), op->guess[c], op->sum_a[c], op->sum_b[c], &op->mean[c], &op->m2[c]);
        if (values_differ(op, c)) op->m2[c] = bn_m2_of_different(count_of(op), op->m2[c]);
        op->state[c] = next_state(op, c, state);
        if (op->state[c] == BN_ABOUT_MEAN || op->state[c] == BN_IN_DOUBLE_ABOUT_MEAN)
            op->guess[c] = sums_in_double(op) ? op->mean[c] : (float)op->mean[c];
    }
    prepare_guess(op, begin, end);
    return 0;
}

static void prepare_y(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t c = begin; c < end; c++) op->var[c] = op->m2[c] / op->count[c];
    prepare_normalize(op, begin, end);
}

/* Copy the sums to the results. Returns whether all are good. The loop has no branch, as above. */
static int find_sums(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const double smallest = count_of(op) * SMALLEST_PRODUCT;
    const double *restrict a = op->sum_a, *restrict b = op->sum_b;
    double *restrict sum_g = op->sum_g, *restrict sum_g_xm = op->sum_g_xm;
    int good = 1;
    for (ptrdiff_t c = begin; c < end; c++) {
        sum_g[c] = a[c];
        sum_g_xm[c] = b[c];
        good &= (fabs(a[c]) <= DBL_MAX) & (fabs(b[c]) <= DBL_MAX) & (fabs(b[c]) >= smallest);
    }
    return good || sums_in_double(op);
}

/* Where both sums are exactly 0, all terms are taken to be 0. Products of float32 below 1e-45 vanish, but
   then Σg is hardly ever exactly 0. */
static int take_sums(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, bn_sum_state state)
{
    const double smallest = count_of(op) * SMALLEST_PRODUCT;
    add_chunks(op, begin, end);
    if (state == BN_FIRST && find_sums(op, begin, end)) return 1;
    for (ptrdiff_t c = begin; c < end; c++) {
        if (state != BN_FIRST && op->state[c] != state) continue;
        const double sum = op->sum_g[c] = op->sum_a[c], products = op->sum_g_xm[c] = op->sum_b[c];
        const int zero = sum == 0 && products == 0;
        const int lost = !isfinite(sum) || !isfinite(products) || fabs(products) < smallest;
        op->state[c] = state == BN_FIRST && lost && !zero ? BN_IN_DOUBLE : BN_SUMMED;
    }
    return 0;
}

static void correct_sums(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    op->call->kernels->correct_for_mean(&op->values, begin, end, op->sum_g, op->sum_g_xm);
}

static void correct_sums_and_prepare(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    correct_sums(op, begin, end);
    prepare_gradient(op, begin, end);
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
    if (op->steps->sum) {
        op->guess = bn_take(a, row);
        op->spread = bn_take(a, row);
        op->var = bn_take(a, row);
        op->state = bn_take(a, layout->channels * sizeof *op->state);
        op->sum_a = bn_take(a, sums);
        op->sum_b = bn_take(a, sums);
    }
    op->gathered = bn_take(a, op->plan.threads * op->gathers * op->gathered_bytes);
}

/* Run the operation with work space. Returns 0 if there is no memory for it. */
static int run_with_workspace(bn_operation *op)
{
    bn_arena counted = {0};
    lay_out(op, &counted);
    char *memory = bn_memory_malloc(NULL, counted.used + BN_LINE);
    if (!memory) return 0;
    lay_out(op, &(bn_arena){.memory = (char *)bn_whole_lines((size_t)memory)});
    if (op->mean) op->values.mean = op->mean, op->values.var = op->var;
    if (op->sum_g) op->values.sum_g = op->sum_g, op->values.sum_g_xm = op->sum_g_xm;
    bn_run(op);
    bn_memory_free(NULL, memory, counted.used + BN_LINE);
    return 1;
}

/* ---- the operations ---- */

static bn_operation operation(const bn_call *call, const bn_steps *steps)
{
    const bn_layout *layout = &call->layout;
    const bn_partition cut = steps->sum     ? bn_cut(layout)
                             : call->pooled ? bn_cut_small(layout)
                                            : bn_cut_fine(layout);
    const bn_plan plan = bn_plan_for(call, cut, steps->sum != NULL);
    int gathers = 0;
    for (int i = 0; i < BN_TENSORS; i++) gathers += call->gathered[i] != NULL;
    const ptrdiff_t values = call->pooled ? cut.rows * layout->channels : bn_gather_values(&cut);
    return (bn_operation){
        .call = call,
        .steps = steps,
        .plan = plan,
        .values = call->values,
        .gathers = call->pooled ? 1 : gathers,
        .gathered_bytes = bn_whole_lines(values * call->kernels->itemsize),
        .epilogue = {.activation = call->activation,
                     .negative_slope = call->negative_slope,
                     .stream = plan.from_memory && gathers == 0}};
}

int bn_stats(const bn_call *call, double *count, double *mean, double *m2)
{
    static const bn_steps steps = {.before = guess_mean,
                                   .sum = sum_x,
                                   .sum_in_double = sum_x_in_double,
                                   .take_sums = take_moments};
    bn_operation op = operation(call, &steps);
    op.count = count, op.mean = mean, op.m2 = m2;
    return run_with_workspace(&op);
}

int bn_normalize(const bn_call *call)
{
    static const bn_steps steps = {.before = prepare_normalize, .write = write_y};
    bn_operation op = operation(call, &steps);
    return run_with_workspace(&op);
}

int bn_forward(const bn_call *call, double *count, double *mean, double *m2)
{
    static const bn_steps steps = {.before = guess_mean,
                                   .sum = sum_x,
                                   .sum_in_double = sum_x_in_double,
                                   .take_sums = take_moments,
                                   .between = prepare_y,
                                   .write = write_y};
    bn_operation op = operation(call, &steps);
    op.count = count, op.mean = mean, op.m2 = m2;
    return run_with_workspace(&op);
}

int bn_reduce(const bn_call *call, double *sum_g, double *sum_g_xm)
{
    static const bn_steps steps = {.before = prepare_normalize,
                                   .sum = sum_dy,
                                   .sum_in_double = sum_dy_in_double,
                                   .take_sums = take_sums,
                                   .between = correct_sums};
    bn_operation op = operation(call, &steps);
    op.sum_g = sum_g, op.sum_g_xm = sum_g_xm;
    return run_with_workspace(&op);
}

int bn_gradient(const bn_call *call)
{
    static const bn_steps steps = {.before = prepare_both, .write = write_dx};
    bn_operation op = operation(call, &steps);
    return run_with_workspace(&op);
}

int bn_backward(const bn_call *call, double *sum_g, double *sum_g_xm)
{
    static const bn_steps steps = {.before = prepare_normalize,
                                   .sum = sum_dy,
                                   .sum_in_double = sum_dy_in_double,
                                   .take_sums = take_sums,
                                   .between = correct_sums_and_prepare,
                                   .write = write_dx};
    bn_operation op = operation(call, &steps);
    op.sum_g = sum_g, op.sum_g_xm = sum_g_xm;
    return run_with_workspace(&op);
}
