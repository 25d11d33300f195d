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
                             .slope = (char *)k->slope + bytes,
                             .weight = k->weight ? (char *)k->weight + bytes : NULL,
                             .factor = k->weight ? (char *)k->factor + bytes : NULL};
}

static void stats(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk, ptrdiff_t k,
                  int in_double)
{
    const bn_call *call = op->call;
    ptrdiff_t at = chunk->channel;
    bn_extent extent = chunk->extent;
    bn_tensor x = t->x;
    if (!extent.channels_last) { /* the channels of a statistic are one run */
        at /= op->values.span;
        extent.channels /= op->values.span;
        extent.n *= op->values.span;
        x.channel_stride *= op->values.span;
    }
    const char *guess = (char *)op->rounded_guess + at * call->kernels->realsize;
    at += k * call->layout.channels;
    call->kernels->stats(x, extent, guess, in_double, op->sum_a + at, op->sum_b + at);
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

/* The sums come first, because dx may be the same memory as dy or x. */
static void add_run_gradients_and_write_dx(const bn_operation *op, const bn_tensors *t,
                                           const bn_chunk *chunk, ptrdiff_t k)
{
    double *sums = op->run_sums + chunk->channel / op->plan.part * 2 * op->run_pitch + chunk->column;
    op->call->kernels->add_run_gradients(t, chunk->extent, coefficients_from(op, chunk->channel),
                                         &op->epilogue, sums, sums + op->run_pitch);
    write_dx(op, t, chunk, k);
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
    if (op->coefficients.weight) {
        repeat(&call->layout, op->coefficients.weight, call->kernels->realsize);
        repeat(&call->layout, op->coefficients.factor, call->kernels->realsize);
    }
}

static void prepare_both(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    prepare_normalize(op, begin, end);
    prepare_gradient(op, begin, end);
}

static int sums_in_double(const bn_operation *op)
{
    return op->call->kernels->realsize == sizeof(double);
}

/* The guess as the kernels take it; channels-last, each channel has that of its statistic. */
static void round_guess(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_layout *layout = &op->call->layout;
    const ptrdiff_t span = op->values.span, each = layout->channels_last ? span : 1;
    const double *guess = op->guess;
    float *narrow = op->rounded_guess;
    double *wide = op->rounded_guess;
    for (ptrdiff_t s = begin / span; s < end / span; s++)
        for (ptrdiff_t c = s * each; c < (s + 1) * each; c++)
            if (sums_in_double(op)) wide[c] = guess[s];
            else narrow[c] = (float)guess[s];
    repeat(layout, op->rounded_guess, op->call->kernels->realsize);
}

/* Planar, each sample is a cache line of its own, and a bad guess costs a second look at one channel only.
   Channels-last, samples cost little, and a bad guess may cost a second look at the whole tensor. */
static int samples_for(const bn_layout *layout)
{
    return layout->channels_last ? BN_SAMPLES : BN_SAMPLES / 4;
}

/* Channels-last, the guess of each channel was found: make one of those of a statistic. */
static void guess_of_channels(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const ptrdiff_t span = op->values.span;
    double *guess = op->guess, *spread = op->spread;
    for (ptrdiff_t s = begin / span; s < end / span; s++) {
        const ptrdiff_t first = s * span;
        double low = guess[first], high = low, widest = 0, sum = 0;
        for (ptrdiff_t c = first; c < first + span; c++) {
            low = fmin(low, guess[c]), high = fmax(high, guess[c]);
            widest = fmax(widest, spread[c]);
            sum += guess[c] / (double)span;
        }
        guess[s] = sums_in_double(op) ? sum : (float)sum;
        spread[s] = fmax(widest, high - low);
    }
}

/* Guess the mean from values spread over the channel. Multiples of the golden ratio, modulo 1, are spread
   evenly, and no pattern that repeats in the data falls into step with them. */
static void guess_mean(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_call *call = op->call;
    const bn_layout *layout = &call->layout;
    const ptrdiff_t itemsize = call->kernels->itemsize;
    const ptrdiff_t *strides = call->gathered[BN_X];
    const bn_tensor x = call->tensors.x;
    const ptrdiff_t run = layout->channels_last ? 1 : op->values.span; /* channels summed as one */
    const ptrdiff_t count = layout->outer * layout->inner * run, first = begin / run;
    const int samples = samples_for(layout);
    ptrdiff_t places[BN_SAMPLES];
    for (int k = 0; k < samples; k++) {
        const double turns = (k + 0.5) * 0.6180339887498949;
        const ptrdiff_t i = (ptrdiff_t)((turns - floor(turns)) * (double)count);
        places[k] = strides ? bn_distance(layout, strides, i)
                    : run > 1
                        ? i * itemsize
                        : i / layout->inner * x.row_stride + i % layout->inner * itemsize;
    }
    call->kernels->guess_mean(x.data + begin * x.channel_stride, places, samples,
                              x.channel_stride * run, (end - begin) / run, op->guess + first,
                              op->spread + first);
    if (layout->channels_last && op->values.span > 1) guess_of_channels(op, begin, end);
    round_guess(op, begin, end);
}

static void guess_zero(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t s = begin; s < end; s++) op->guess[s] = 0;
    round_guess(op, begin, end);
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

/* Channels-last, add the sums of a statistic's channels, which are about the same guess. */
static void add_channels(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const ptrdiff_t span = op->values.span;
    if (!op->call->layout.channels_last || span == 1) return;
    for (ptrdiff_t s = begin / span; s < end / span; s++) {
        double a = 0, b = 0;
        for (ptrdiff_t c = s * span; c < (s + 1) * span; c++) a += op->sum_a[c], b += op->sum_b[c];
        op->sum_a[s] = a, op->sum_b[s] = b;
    }
}

/* Below this, squares of float32 lose digits, and small ones vanish. */
static const double SMALLEST_SQUARE = 0x1p-116, SMALLEST_PRODUCT = 0x1p-100;

/* Values of a channel; or of a statistic, where those are summed. */
static double count_of(const bn_operation *op)
{
    const bn_layout *layout = &op->call->layout;
    return (double)layout->outer * (double)layout->inner * (double)bn_summed_together(op);
}

/* The sum of squares of a statistic below which it has lost digits. */
static double smallest_squares(const bn_operation *op)
{
    return count_of(op) * (sums_in_double(op) ? DBL_MIN : SMALLEST_SQUARE);
}

static inline int moments_good(double squares, double m2, double smallest)
{
    return bn_moments_good(squares, m2) & (squares >= smallest) & (squares <= DBL_MAX);
}

/* Fill count, mean and m2 as if all sums were good. Returns whether they are. There is no branch, so that
   the loop can be vectorized. */
static int find_moments(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const double n = count_of(op), smallest = smallest_squares(op);
    const double *restrict sum = op->sum_a, *restrict squares = op->sum_b, *restrict guess = op->guess;
    double *restrict count = op->count, *restrict mean = op->mean, *restrict m2 = op->m2;
    int good = 1;
    for (ptrdiff_t c = begin; c < end; c++) {
        count[c] = n;
        bn_moments(n, guess[c], sum[c], squares[c], &mean[c], &m2[c]);
        good &= moments_good(squares[c], m2[c], smallest);
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

static unsigned take_moments(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, bn_sum_state state)
{
    const ptrdiff_t span = op->values.span, first = begin / span, last = end / span;
    add_chunks(op, begin, end);
    add_channels(op, begin, end);
    if (state == BN_FIRST && find_moments(op, first, last)) return 0;
    const double smallest = smallest_squares(op);
    unsigned states = 0;
    for (ptrdiff_t c = first; c < last; c++) {
        if (state == BN_FIRST && moments_good(op->sum_b[c], op->m2[c], smallest)) {
            op->state[c] = BN_SUMMED;
            continue;
        }
        if (state != BN_FIRST && op->state[c] != state) continue;
        bn_moments(count_of(op), op->guess[c], op->sum_a[c], op->sum_b[c], &op->mean[c], &op->m2[c]);
        if (values_differ(op, c)) op->m2[c] = bn_m2_of_different(count_of(op), op->m2[c]);
        op->state[c] = next_state(op, c, state);
        states |= bn_bit_of(op->state[c]);
        if (op->state[c] == BN_ABOUT_MEAN || op->state[c] == BN_IN_DOUBLE_ABOUT_MEAN)
            op->guess[c] = sums_in_double(op) ? op->mean[c] : (float)op->mean[c];
    }
    round_guess(op, begin, end);
    return states;
}

/* Moments about 0, which are those of values with a mean of 0. */
static unsigned take_squares(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, bn_sum_state state)
{
    const double smallest = count_of(op) * SMALLEST_SQUARE;
    unsigned states = 0;
    add_chunks(op, begin, end);
    for (ptrdiff_t c = begin; c < end; c++) {
        if (state != BN_FIRST && op->state[c] != state) continue;
        const double sum = op->sum_a[c], squares = op->sum_b[c];
        op->count[c] = count_of(op), op->mean[c] = 0, op->m2[c] = squares;
        const int lost = !isfinite(squares) || (squares < smallest && (sum != 0 || squares != 0));
        op->state[c] = state == BN_FIRST && lost && !sums_in_double(op) ? BN_IN_DOUBLE : BN_SUMMED;
        states |= bn_bit_of(op->state[c]);
    }
    return states;
}

static void prepare_y(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const ptrdiff_t span = op->values.span;
    for (ptrdiff_t s = begin / span; s < end / span; s++) op->var[s] = op->m2[s] / op->count[s];
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
static unsigned take_sums(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, bn_sum_state state)
{
    const double smallest = count_of(op) * SMALLEST_PRODUCT;
    add_chunks(op, begin, end);
    if (state == BN_FIRST && find_sums(op, begin, end)) return 0;
    unsigned states = 0;
    for (ptrdiff_t c = begin; c < end; c++) {
        if (state != BN_FIRST && op->state[c] != state) continue;
        const double sum = op->sum_g[c] = op->sum_a[c], products = op->sum_g_xm[c] = op->sum_b[c];
        const int zero = sum == 0 && products == 0;
        const int lost = !isfinite(sum) || !isfinite(products) || fabs(products) < smallest;
        op->state[c] = state == BN_FIRST && lost && !zero ? BN_IN_DOUBLE : BN_SUMMED;
        states |= bn_bit_of(op->state[c]);
    }
    return states;
}

static void correct_sums(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    op->call->kernels->correct_for_mean(&op->values, begin, end, op->sum_g, op->sum_g_xm);
}

/* The sums of a statistic are those of its channels, with their weights. */
static void add_weighted_sums(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_channel_values *v = &op->values;
    for (ptrdiff_t s = begin / v->span; s < end / v->span; s++) {
        double g = 0, g_xm = 0;
        for (ptrdiff_t c = s * v->span; c < (s + 1) * v->span; c++) {
            const double weight = v->weight ? v->weight[c % v->parameters] : 1;
            g += weight * op->sum_g[c];
            g_xm += weight * op->sum_g_xm[c];
        }
        op->group_g[s] = g, op->group_g_xm[s] = g_xm;
    }
}

static void correct_sums_and_prepare(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    correct_sums(op, begin, end);
    if (op->group_g) add_weighted_sums(op, begin, end);
    if (op->call->about_zero) /* the mean, which is no function of x, has no gradient */
        for (ptrdiff_t c = begin; c < end; c++) op->sum_g[c] = 0;
    prepare_gradient(op, begin, end);
}

/* ---- weights and biases of runs ---- */

static void fill_run(const bn_operation *op, void *to, const double *from, double otherwise)
{
    const ptrdiff_t n = op->call->layout.inner;
    float *narrow = to;
    double *wide = to;
    for (ptrdiff_t i = 0; i < op->run_pitch; i++) {
        const double value = i >= n ? 0 : from ? from[i] : otherwise;
        if (sums_in_double(op)) wide[i] = value;
        else narrow[i] = (float)value;
    }
}

static ptrdiff_t parts_of(const bn_operation *op)
{
    return bn_ceil_div(op->call->layout.channels, op->plan.part);
}

/* Add up the sums of the parts, in their order. */
static void take_run_gradients(const bn_operation *op)
{
    const ptrdiff_t n = op->call->layout.inner;
    double *dweight = op->call->run_dweight, *dbias = op->call->run_dbias;
    memset(dweight, 0, n * sizeof *dweight);
    memset(dbias, 0, n * sizeof *dbias);
    for (ptrdiff_t part = 0; part < parts_of(op); part++) {
        const double *sums = op->run_sums + part * 2 * op->run_pitch;
        for (ptrdiff_t i = 0; i < n; i++) dweight[i] += sums[i];
        for (ptrdiff_t i = 0; i < n; i++) dbias[i] += sums[op->run_pitch + i];
    }
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
    if (op->values.span > 1) {
        op->coefficients.weight = bn_take(a, row);
        op->coefficients.factor = bn_take(a, row);
        if (op->sum_g) {
            op->group_g = bn_take(a, layout->channels * sizeof(double));
            op->group_g_xm = bn_take(a, layout->channels * sizeof(double));
        }
    }
    if (op->steps->sum) {
        op->rounded_guess = bn_take(a, row);
        op->guess = bn_take(a, row);
        op->spread = bn_take(a, row);
        op->var = bn_take(a, row);
        op->state = bn_take(a, layout->channels * sizeof *op->state);
        op->sum_a = bn_take(a, sums);
        op->sum_b = bn_take(a, sums);
    }
    if (op->call->run_weight || op->call->run_bias || op->call->run_dweight) {
        op->run_pitch = layout->inner + BN_PAD;
        op->run_weight = bn_take(a, op->run_pitch * op->call->kernels->realsize);
        op->run_bias = bn_take(a, op->run_pitch * op->call->kernels->realsize);
    }
    if (op->call->run_dweight)
        op->run_sums = bn_take(a, parts_of(op) * 2 * op->run_pitch * sizeof(double));
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
    if (op->group_g) op->values.sum_g = op->group_g, op->values.sum_g_xm = op->group_g_xm;
    if (op->run_weight) {
        fill_run(op, op->run_weight, op->call->run_weight, 1);
        fill_run(op, op->run_bias, op->call->run_bias, 0);
    }
    if (op->run_sums) memset(op->run_sums, 0, parts_of(op) * 2 * op->run_pitch * sizeof(double));
    bn_run(op);
    if (op->run_sums) take_run_gradients(op);
    bn_memory_free(NULL, memory, counted.used + BN_LINE);
    return 1;
}

/* ---- the operations ---- */

static bn_operation operation(const bn_call *call, const bn_steps *steps)
{
    const bn_layout *layout = &call->layout;
    const int as_runs = call->values.span > 1 && !layout->channels_last; /* which no chunk divides */
    const bn_partition cut = steps->sum     ? as_runs ? bn_cut_whole(layout) : bn_cut(layout)
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
                                   .write = write_y},
                          about_zero = {.before = guess_zero,
                                        .sum = sum_x,
                                        .sum_in_double = sum_x_in_double,
                                        .take_sums = take_squares,
                                        .between = prepare_y,
                                        .write = write_y};
    bn_operation op = operation(call, call->about_zero ? &about_zero : &steps);
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
                                   .write = write_dx},
                          of_runs = {.before = prepare_normalize,
                                     .sum = sum_dy,
                                     .sum_in_double = sum_dy_in_double,
                                     .take_sums = take_sums,
                                     .between = correct_sums_and_prepare,
                                     .write = add_run_gradients_and_write_dx};
    bn_operation op = operation(call, call->run_dweight ? &of_runs : &steps);
    if (call->run_dweight) op.plan = bn_plan_parts(op.plan);
    op.sum_g = sum_g, op.sum_g_xm = sum_g_xm;
    return run_with_workspace(&op);
}
