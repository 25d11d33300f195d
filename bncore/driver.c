#include "driver.h"

#include <stdlib.h>

#include "moments.h"
#include "parallel.h"
#include "partition.h"

enum {
    SERIAL_BELOW = 32768,   /* values: a team of threads costs more than it saves */
    GROUP_BYTES = 8 << 20,   /* of blocks that stay in the shared cache over both passes */
    PRIVATE_BLOCK = 1 << 20, /* bytes of a block that stays in one core's cache over both passes */
};

/* One call: what goes in, what comes out, and the work space of its passes. */
typedef struct {
    const bn_call *call;
    bn_partition cut;
    bn_operand x, y, dy, dx;
    bn_channel_values values;
    bn_coefficients coefficients; /* [channel], or [fold][channel] where rows are folded */
    bn_moments *moments;          /* [chunk][channel] */
    bn_sums *sums;                /* [chunk][channel] */
    double *count, *mean, *m2, *var, *sum_dy, *sum_dy_xmu;
} operation;

/* A pass over chunks k = begin … end-1 of one block, and what follows once a block is through. */
typedef void (*chunk_pass)(const operation *op, ptrdiff_t block, ptrdiff_t k);
typedef void (*block_step)(const operation *op, ptrdiff_t block);

static operation begin(const bn_call *call)
{
    return (operation){.call = call, .cut = bn_cut(&call->layout)};
}

static bn_rows rows_of(const operation *op, const bn_chunk *chunk, bn_operand operand)
{
    return bn_chunk_rows(&op->cut, chunk, operand, op->call->kernels->itemsize);
}

static bn_rows after(bn_rows rows, const bn_chunk *chunk)
{
    return (bn_rows){rows.data + chunk->rows * rows.stride, rows.stride};
}

/* ---- passes over a chunk ---- */

static void stats_chunk(const operation *op, ptrdiff_t block, ptrdiff_t k)
{
    const bn_kernels *kernels = op->call->kernels;
    bn_chunk c = bn_chunk_at(&op->cut, block, k);
    bn_rows x = rows_of(op, &c, op->x);
    bn_moments *out = op->moments + k * op->call->layout.channels + c.channel;
    if (op->call->layout.channels_last)
        kernels->stats_last(x, c.rows, c.n, c.tail, c.channels, out);
    else
        kernels->stats_planar(x, c.rows, c.n, out);
}

static void normalize_chunk(const operation *op, ptrdiff_t block, ptrdiff_t k)
{
    const bn_kernels *kernels = op->call->kernels;
    const bn_coefficients *coefficients = &op->coefficients;
    bn_chunk c = bn_chunk_at(&op->cut, block, k);
    bn_rows x = rows_of(op, &c, op->x), y = rows_of(op, &c, op->y);
    if (!op->call->layout.channels_last) {
        kernels->normalize_planar(x, y, c.rows, c.n, coefficients, c.channel);
        return;
    }
    kernels->normalize_last(x, y, c.rows, c.n, coefficients, c.channel);
    kernels->normalize_last(after(x, &c), after(y, &c), c.tail > 0, c.tail, coefficients, c.channel);
}

static void reduce_chunk(const operation *op, ptrdiff_t block, ptrdiff_t k)
{
    const bn_kernels *kernels = op->call->kernels;
    bn_chunk c = bn_chunk_at(&op->cut, block, k);
    bn_rows dy = rows_of(op, &c, op->dy), x = rows_of(op, &c, op->x);
    bn_sums *out = op->sums + k * op->call->layout.channels + c.channel;
    if (op->call->layout.channels_last)
        kernels->reduce_last(dy, x, c.rows, c.n, c.tail, c.channels, op->values.mean + c.channel,
                             out);
    else
        kernels->reduce_planar(dy, x, c.rows, c.n, op->values.mean[c.channel], out);
}

static void gradient_chunk(const operation *op, ptrdiff_t block, ptrdiff_t k)
{
    const bn_kernels *kernels = op->call->kernels;
    const bn_coefficients *coefficients = &op->coefficients;
    bn_chunk c = bn_chunk_at(&op->cut, block, k);
    bn_rows dy = rows_of(op, &c, op->dy), x = rows_of(op, &c, op->x), dx = rows_of(op, &c, op->dx);
    if (!op->call->layout.channels_last) {
        kernels->gradient_planar(dy, x, dx, c.rows, c.n, coefficients, c.channel);
        return;
    }
    kernels->gradient_last(dy, x, dx, c.rows, c.n, coefficients, c.channel);
    kernels->gradient_last(after(dy, &c), after(x, &c), after(dx, &c), c.tail > 0, c.tail,
                           coefficients, c.channel);
}

/* ---- steps between the passes, on the channels of one block ---- */

static void merge_block(const operation *op, ptrdiff_t block)
{
    const ptrdiff_t channels = op->call->layout.channels;
    bn_chunk b = bn_chunk_at(&op->cut, block, 0);
    double *mean = op->mean + b.channel, *m2 = op->m2 + b.channel, so_far = 0;
    for (ptrdiff_t c = 0; c < b.channels; c++) mean[c] = m2[c] = 0;
    for (ptrdiff_t k = 0; k < op->cut.chunks; k++) {
        const bn_moments *moments = op->moments + k * channels + b.channel;
        double more = bn_chunk_count(&op->cut, k);
        for (ptrdiff_t c = 0; c < b.channels; c++)
            bn_merge(so_far, mean + c, m2 + c, more, moments[c].mean, moments[c].m2);
        so_far += more;
    }
    for (ptrdiff_t c = 0; c < b.channels; c++) op->count[b.channel + c] = so_far;
}

static void add_block(const operation *op, ptrdiff_t block)
{
    const ptrdiff_t channels = op->call->layout.channels;
    bn_chunk b = bn_chunk_at(&op->cut, block, 0);
    for (ptrdiff_t c = b.channel; c < b.channel + b.channels; c++) {
        op->sum_dy[c] = op->sum_dy_xmu[c] = 0;
        for (ptrdiff_t k = 0; k < op->cut.chunks; k++) {
            op->sum_dy[c] += op->sums[k * channels + c].dy;
            op->sum_dy_xmu[c] += op->sums[k * channels + c].dy_xmu;
        }
    }
}

typedef void (*prepare)(const bn_channel_values *, ptrdiff_t, const bn_coefficients *, ptrdiff_t);

static void prepare_block(const operation *op, ptrdiff_t block, prepare prepare_channel)
{
    bn_chunk b = bn_chunk_at(&op->cut, block, 0);
    for (ptrdiff_t c = b.channel; c < b.channel + b.channels; c++)
        for (ptrdiff_t f = 0; f < op->call->layout.fold; f++)
            prepare_channel(&op->values, c, &op->coefficients, f * op->call->layout.channels + c);
}

static void prepare_normalize(const operation *op, ptrdiff_t block)
{
    prepare_block(op, block, op->call->kernels->prepare_normalize);
}

static void prepare_gradient(const operation *op, ptrdiff_t block)
{
    prepare_block(op, block, op->call->kernels->prepare_gradient);
}

static void merge_then_prepare(const operation *op, ptrdiff_t block)
{
    merge_block(op, block);
    bn_chunk b = bn_chunk_at(&op->cut, block, 0);
    for (ptrdiff_t c = b.channel; c < b.channel + b.channels; c++)
        op->var[c] = op->m2[c] / op->count[c];
    prepare_normalize(op, block);
}

static void add_then_prepare(const operation *op, ptrdiff_t block)
{
    add_block(op, block);
    prepare_gradient(op, block);
}

/* ---- running the passes ---- */

typedef struct {
    const operation *op;
    chunk_pass first, second; /* either may be NULL */
    block_step step;          /* between them */
    ptrdiff_t first_block, blocks; /* the group of blocks that all threads are at */
} plan;

static void whole_blocks(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const plan *p = context;
    const ptrdiff_t chunks = p->op->cut.chunks;
    for (ptrdiff_t block = begin; block < end; block++) {
        for (ptrdiff_t k = 0; p->first && k < chunks; k++) p->first(p->op, block, k);
        p->step(p->op, block);
        for (ptrdiff_t k = 0; p->second && k < chunks; k++) p->second(p->op, block, k);
    }
}

/* Item i of a group, in the order of memory: planar chunks lie block by block, channels-last ones
   side by side. */
static void pass_range(const plan *p, chunk_pass pass, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_partition *cut = &p->op->cut;
    for (ptrdiff_t i = begin; i < end; i++)
        if (p->op->call->layout.channels_last)
            pass(p->op, p->first_block + i % p->blocks, i / p->blocks);
        else
            pass(p->op, p->first_block + i / cut->chunks, i % cut->chunks);
}

static void first_pass(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const plan *p = context;
    pass_range(p, p->first, begin, end);
}

static void second_pass(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const plan *p = context;
    pass_range(p, p->second, begin, end);
}

static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* A channel whose two passes stay in one core's cache is one thread's from end to end. Otherwise all
   threads go over a group of channels twice, as many as stay in the cache they share. Channels-last
   tensors are one group: strips of their channels, half-used pages far apart, took 1.5 to 2.5 times
   as long, whether the second pass then found them in L2 or in L3. */
static void run(const operation *op, chunk_pass first, block_step step, chunk_pass second)
{
    const bn_partition *cut = &op->cut;
    plan p = {.op = op, .first = first, .step = step, .second = second};
    ptrdiff_t block_bytes = cut->block_values * op->call->kernels->itemsize;
    double values = (double)cut->block_values * cut->blocks;
    int threads = values < SERIAL_BELOW ? 1 : op->call->threads;
    int planar = !op->call->layout.channels_last;
    if (threads == 1 || (planar && block_bytes <= PRIVATE_BLOCK && cut->blocks >= threads)) {
        bn_parallel_for(cut->blocks, threads, whole_blocks, &p);
        return;
    }
    ptrdiff_t together = planar && first && second ? 1 + GROUP_BYTES / block_bytes : cut->blocks;
    for (; p.first_block < cut->blocks; p.first_block += together) {
        p.blocks = min(together, cut->blocks - p.first_block);
        if (first) bn_parallel_for(p.blocks * cut->chunks, threads, first_pass, &p);
        for (ptrdiff_t block = 0; block < p.blocks; block++) step(op, p.first_block + block);
        if (second) bn_parallel_for(p.blocks * cut->chunks, threads, second_pass, &p);
    }
}

/* ---- the operations ---- */

static int allocate_coefficients(operation *op)
{
    size_t size = op->call->layout.fold * op->call->layout.channels * op->call->kernels->itemsize;
    char *memory = malloc(4 * size);
    op->coefficients = (bn_coefficients){memory, memory + size, memory + 2 * size, memory + 3 * size};
    return memory != NULL;
}

static size_t results(const operation *op)
{
    return (size_t)op->cut.chunks * op->call->layout.channels;
}

int bn_stats(const bn_call *call, bn_operand x, double *count, double *mean, double *m2)
{
    operation op = begin(call);
    op.x = x, op.count = count, op.mean = mean, op.m2 = m2;
    op.moments = malloc(results(&op) * sizeof *op.moments);
    int found = op.moments != NULL;
    if (found) run(&op, stats_chunk, merge_block, NULL);
    free(op.moments);
    return found;
}

int bn_normalize(const bn_call *call, bn_operand x, bn_operand y, const bn_channel_values *values)
{
    operation op = begin(call);
    op.x = x, op.y = y, op.values = *values;
    int found = allocate_coefficients(&op);
    if (found) run(&op, NULL, prepare_normalize, normalize_chunk);
    free(op.coefficients.mean);
    return found;
}

int bn_forward(const bn_call *call, bn_operand x, bn_operand y, const double *weight,
               const double *bias, double eps, double *count, double *mean, double *m2)
{
    operation op = begin(call);
    op.x = x, op.y = y, op.count = count, op.mean = mean, op.m2 = m2;
    op.moments = malloc(results(&op) * sizeof *op.moments);
    op.var = malloc(call->layout.channels * sizeof *op.var);
    op.values = (bn_channel_values){
        .mean = mean, .var = op.var, .weight = weight, .bias = bias, .eps = eps};
    int found = allocate_coefficients(&op) && op.moments && op.var;
    if (found) run(&op, stats_chunk, merge_then_prepare, normalize_chunk);
    free(op.moments);
    free(op.var);
    free(op.coefficients.mean);
    return found;
}

int bn_reduce(const bn_call *call, bn_operand dy, bn_operand x, const double *mean, double *sum_dy,
              double *sum_dy_xmu)
{
    operation op = begin(call);
    op.dy = dy, op.x = x, op.values.mean = mean, op.sum_dy = sum_dy, op.sum_dy_xmu = sum_dy_xmu;
    op.sums = malloc(results(&op) * sizeof *op.sums);
    int found = op.sums != NULL;
    if (found) run(&op, reduce_chunk, add_block, NULL);
    free(op.sums);
    return found;
}

int bn_gradient(const bn_call *call, bn_operand dy, bn_operand x, bn_operand dx,
                const bn_channel_values *values)
{
    operation op = begin(call);
    op.dy = dy, op.x = x, op.dx = dx, op.values = *values;
    int found = allocate_coefficients(&op);
    if (found) run(&op, NULL, prepare_gradient, gradient_chunk);
    free(op.coefficients.mean);
    return found;
}

int bn_backward(const bn_call *call, bn_operand dy, bn_operand x, bn_operand dx,
                const bn_channel_values *values, double *sum_dy, double *sum_dy_xmu)
{
    operation op = begin(call);
    op.dy = dy, op.x = x, op.dx = dx, op.values = *values;
    op.values.sum_dy = op.sum_dy = sum_dy;
    op.values.sum_dy_xmu = op.sum_dy_xmu = sum_dy_xmu;
    op.sums = malloc(results(&op) * sizeof *op.sums);
    int found = allocate_coefficients(&op) && op.sums;
    if (found) run(&op, reduce_chunk, add_then_prepare, gradient_chunk);
    free(op.sums);
    free(op.coefficients.mean);
    return found;
}
