#include "driver.h"

#include <stdlib.h>

#include "moments.h"
#include "parallel.h"
#include "partition.h"

enum {
    SERIAL_BELOW = 32768,    /* values: a team of threads costs more than it saves */
    GROUP_BYTES = 8 << 20,   /* of blocks that stay in the shared cache over both passes */
    PRIVATE_BLOCK = 1 << 20, /* bytes of a block that stays in one core's cache over both passes */
    STREAM_FROM = 16 << 20,  /* bytes of an output that is written past the cache */
    STREAM_ROW = 512,        /* bytes of a row so written: it may begin and end within a line */
    WIDE_ROW = 512,          /* values that adjoining channels-last rows are taken together to */
};

/* One call and the work space of its passes. */
typedef struct {
    const bn_call *call;
    bn_partition cut;
    bn_channel_values values;
    bn_epilogue epilogue;
    ptrdiff_t joined;             /* kernel rows that a pass without sums takes as one */
    bn_coefficients coefficients; /* [joined][fold][channel] */
    bn_moments *moments;          /* [chunk][channel] */
    bn_sums *sums;                /* [chunk][channel] */
    double *count, *mean, *m2, *var, *sum_g, *sum_g_xm;
} operation;

/* A pass over one chunk of a block, and what happens to a block before or between the passes. */
typedef void (*chunk_pass)(const operation *op, ptrdiff_t block, ptrdiff_t k);
typedef void (*block_step)(const operation *op, ptrdiff_t block);

/* How many channels-last rows a pass without sums can take together as one long row. */
static ptrdiff_t rows_to_join(const bn_call *call, const bn_partition *cut)
{
    const bn_operand *operands = (const bn_operand *)&call->arrays;
    ptrdiff_t n = call->layout.fold * cut->block_channels;
    if (!call->layout.channels_last || cut->blocks > 1 || n >= WIDE_ROW) return 1;
    for (int i = 0; i < BN_MAX_OPERANDS; i++)
        if (operands[i].data &&
            operands[i].outer_stride != call->layout.channels * call->kernels->itemsize)
            return 1;
    return WIDE_ROW / n;
}

/* Whether the output is better written past the cache: it is large, and so are its rows. */
static int streams(const bn_call *call, const bn_partition *cut, ptrdiff_t joined)
{
    ptrdiff_t itemsize = call->kernels->itemsize, row = call->layout.inner * itemsize;
    if (call->layout.channels_last) row = joined * call->layout.fold * cut->block_channels * itemsize;
    return cut->blocks * cut->block_values * itemsize >= STREAM_FROM && row >= STREAM_ROW;
}

static operation begin(const bn_call *call)
{
    operation op = {.call = call, .cut = bn_cut(&call->layout), .values = call->values};
    op.joined = rows_to_join(call, &op.cut);
    op.epilogue = (bn_epilogue){call->activation, call->negative_slope,
                                streams(call, &op.cut, op.joined)};
    return op;
}

static bn_rows rows_of(const operation *op, const bn_chunk *chunk, bn_operand operand)
{
    if (!operand.data) return (bn_rows){NULL, 0};
    return bn_chunk_rows(&op->cut, chunk, operand, op->call->kernels->itemsize);
}

/* The rows after the first `count`. */
static bn_rows after(bn_rows rows, ptrdiff_t count)
{
    return (bn_rows){rows.data ? rows.data + count * rows.stride : NULL, rows.stride};
}

/* The rows, `count` at a time as one. */
static bn_rows joined(bn_rows rows, ptrdiff_t count)
{
    return (bn_rows){rows.data, count * rows.stride};
}

/* ---- passes over a chunk ---- */

static void stats_chunk(const operation *op, ptrdiff_t block, ptrdiff_t k)
{
    const bn_kernels *kernels = op->call->kernels;
    bn_chunk c = bn_chunk_at(&op->cut, block, k);
    bn_rows x = rows_of(op, &c, op->call->arrays.x);
    bn_moments *out = op->moments + k * op->call->layout.channels + c.channel;
    if (op->call->layout.channels_last)
        kernels->stats_last(x, c.rows, c.n, c.tail, c.channels, out);
    else
        kernels->stats_planar(x, c.rows, c.n, out);
}

static void normalize_chunk(const operation *op, ptrdiff_t block, ptrdiff_t k)
{
    const bn_kernels *kernels = op->call->kernels;
    const bn_coefficients *co = &op->coefficients;
    bn_chunk c = bn_chunk_at(&op->cut, block, k);
    bn_rows x = rows_of(op, &c, op->call->arrays.x), y = rows_of(op, &c, op->call->arrays.y),
            residual = rows_of(op, &c, op->call->arrays.residual);
    if (!op->call->layout.channels_last) {
        kernels->normalize_planar(x, residual, y, c.rows, c.n, co, c.channel, &op->epilogue);
        return;
    }
    const ptrdiff_t j = op->joined, whole = c.rows / j * j, rest = (c.rows - whole) * c.n + c.tail;
    kernels->normalize_last(joined(x, j), joined(residual, j), joined(y, j), whole / j, j * c.n, co,
                            c.channel, &op->epilogue);
    if (rest)
        kernels->normalize_last(after(x, whole), after(residual, whole), after(y, whole), 1, rest,
                                co, c.channel, &op->epilogue);
}

static bn_backward_rows backward_rows(const operation *op, const bn_chunk *c)
{
    const bn_arrays *a = &op->call->arrays;
    return (bn_backward_rows){rows_of(op, c, a->dy), rows_of(op, c, a->x), rows_of(op, c, a->y),
                              rows_of(op, c, a->dx), rows_of(op, c, a->dresidual)};
}

static void reduce_chunk(const operation *op, ptrdiff_t block, ptrdiff_t k)
{
    const bn_kernels *kernels = op->call->kernels;
    bn_chunk c = bn_chunk_at(&op->cut, block, k);
    bn_backward_rows a = backward_rows(op, &c);
    bn_sums *out = op->sums + k * op->call->layout.channels + c.channel;
    const double *mean = op->values.mean + c.channel;
    if (op->call->layout.channels_last)
        kernels->reduce_last(&a, c.rows, c.n, c.tail, c.channels, &op->coefficients, c.channel, mean,
                             &op->epilogue, out);
    else
        kernels->reduce_planar(&a, c.rows, c.n, &op->coefficients, c.channel, *mean, &op->epilogue,
                               out);
}

static void gradient_chunk(const operation *op, ptrdiff_t block, ptrdiff_t k)
{
    const bn_kernels *kernels = op->call->kernels;
    const bn_coefficients *co = &op->coefficients;
    bn_chunk c = bn_chunk_at(&op->cut, block, k);
    bn_backward_rows a = backward_rows(op, &c);
    if (!op->call->layout.channels_last) {
        kernels->gradient_planar(&a, c.rows, c.n, co, c.channel, &op->epilogue);
        return;
    }
    const ptrdiff_t j = op->joined, whole = c.rows / j * j, rest = (c.rows - whole) * c.n + c.tail;
    bn_backward_rows wide = {joined(a.dy, j), joined(a.x, j), joined(a.y, j), joined(a.dx, j),
                             joined(a.dresidual, j)};
    bn_backward_rows last = {after(a.dy, whole), after(a.x, whole), after(a.y, whole),
                             after(a.dx, whole), after(a.dresidual, whole)};
    kernels->gradient_last(&wide, whole / j, j * c.n, co, c.channel, &op->epilogue);
    if (rest) kernels->gradient_last(&last, 1, rest, co, c.channel, &op->epilogue);
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
        op->sum_g[c] = op->sum_g_xm[c] = 0;
        for (ptrdiff_t k = 0; k < op->cut.chunks; k++) {
            op->sum_g[c] += op->sums[k * channels + c].g;
            op->sum_g_xm[c] += op->sums[k * channels + c].g_xm;
        }
    }
}

typedef void (*prepare)(const bn_channel_values *, ptrdiff_t, const bn_coefficients *, ptrdiff_t);

static void prepare_block(const operation *op, ptrdiff_t block, prepare prepare_channel)
{
    bn_chunk b = bn_chunk_at(&op->cut, block, 0);
    for (ptrdiff_t c = b.channel; c < b.channel + b.channels; c++)
        for (ptrdiff_t f = 0; f < op->joined * op->call->layout.fold; f++)
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
    block_step before;        /* may be NULL */
    chunk_pass first, second; /* either may be NULL */
    block_step step;          /* between them */
    ptrdiff_t first_block, blocks; /* the group of blocks that all threads are at */
} plan;

static void whole_blocks(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const plan *p = context;
    const ptrdiff_t chunks = p->op->cut.chunks;
    for (ptrdiff_t block = begin; block < end; block++) {
        if (p->before) p->before(p->op, block);
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
static void run(const operation *op, block_step before, chunk_pass first, block_step step,
                chunk_pass second)
{
    const bn_partition *cut = &op->cut;
    plan p = {.op = op, .before = before, .first = first, .step = step, .second = second};
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
        for (ptrdiff_t block = 0; before && block < p.blocks; block++)
            before(op, p.first_block + block);
        if (first) bn_parallel_for(p.blocks * cut->chunks, threads, first_pass, &p);
        for (ptrdiff_t block = 0; block < p.blocks; block++) step(op, p.first_block + block);
        if (second) bn_parallel_for(p.blocks * cut->chunks, threads, second_pass, &p);
    }
}

/* ---- the operations ---- */

static int allocate_coefficients(operation *op)
{
    size_t size = op->joined * op->call->layout.fold * op->call->layout.channels *
                  op->call->kernels->itemsize;
    char *memory = malloc(5 * size);
    op->coefficients = (bn_coefficients){memory, memory + size, memory + 2 * size,
                                         memory + 3 * size, memory + 4 * size};
    return memory != NULL;
}

static size_t results(const operation *op)
{
    return (size_t)op->cut.chunks * op->call->layout.channels;
}

int bn_stats(const bn_call *call, double *count, double *mean, double *m2)
{
    operation op = begin(call);
    op.count = count, op.mean = mean, op.m2 = m2;
    op.moments = malloc(results(&op) * sizeof *op.moments);
    int found = op.moments != NULL;
    if (found) run(&op, NULL, stats_chunk, merge_block, NULL);
    free(op.moments);
    return found;
}

int bn_normalize(const bn_call *call)
{
    operation op = begin(call);
    int found = allocate_coefficients(&op);
    if (found) run(&op, NULL, NULL, prepare_normalize, normalize_chunk);
    free(op.coefficients.mean);
    return found;
}

int bn_forward(const bn_call *call, double *count, double *mean, double *m2)
{
    operation op = begin(call);
    op.count = count, op.m2 = m2, op.values.mean = op.mean = mean;
    op.moments = malloc(results(&op) * sizeof *op.moments);
    op.values.var = op.var = malloc(call->layout.channels * sizeof *op.var);
    int found = allocate_coefficients(&op) && op.moments && op.var;
    if (found) run(&op, NULL, stats_chunk, merge_then_prepare, normalize_chunk);
    free(op.moments);
    free(op.var);
    free(op.coefficients.mean);
    return found;
}

int bn_reduce(const bn_call *call, double *sum_g, double *sum_g_xm)
{
    operation op = begin(call);
    op.sum_g = sum_g, op.sum_g_xm = sum_g_xm;
    op.sums = malloc(results(&op) * sizeof *op.sums);
    int found = allocate_coefficients(&op) && op.sums;
    if (found) run(&op, prepare_normalize, reduce_chunk, add_block, NULL);
    free(op.sums);
    free(op.coefficients.mean);
    return found;
}

int bn_gradient(const bn_call *call)
{
    operation op = begin(call);
    int found = allocate_coefficients(&op);
    if (found) run(&op, prepare_normalize, NULL, prepare_gradient, gradient_chunk);
    free(op.coefficients.mean);
    return found;
}

int bn_backward(const bn_call *call, double *sum_g, double *sum_g_xm)
{
    operation op = begin(call);
    op.values.sum_g = op.sum_g = sum_g;
    op.values.sum_g_xm = op.sum_g_xm = sum_g_xm;
    op.sums = malloc(results(&op) * sizeof *op.sums);
    int found = allocate_coefficients(&op) && op.sums;
    if (found) run(&op, prepare_normalize, reduce_chunk, add_then_prepare, gradient_chunk);
    free(op.sums);
    free(op.coefficients.mean);
    return found;
}
