#include "driver.h"

#include <stdlib.h>

#include "moments.h"
#include "parallel.h"

enum {
    PLANAR_CHUNK = 16384,  /* values of one channel: in L2 for a second pass, many per tensor */
    LAST_CHUNK = 131072,   /* values of all channels: enough rows that merging them costs little */
    BLOCK_CHANNELS = 512,  /* channels-last tensors wider than BN_MAX_WIDTH go block by block */
    SERIAL_BELOW = 32768,  /* values: a team of threads costs more than it saves */
};

/* How a tensor is cut. Planar: `blocks` = channels, a chunk is some rows of one channel, or a piece
   of one row. Channels-last: a block is a range of channels, a chunk some of its (folded) rows. */
typedef struct {
    ptrdiff_t blocks, chunks;        /* chunks of each block */
    ptrdiff_t block_channels;
    ptrdiff_t fold;                  /* channels-last rows taken together, to fill the lanes */
    ptrdiff_t rows, n;               /* rows of a chunk, values of a row of it */
    ptrdiff_t total_rows, pieces;    /* rows of a block, pieces of a planar row */
} partition;

typedef struct {
    ptrdiff_t block, channel, channels;
    ptrdiff_t row, piece;            /* where it begins */
    ptrdiff_t rows, n, tail;
} chunk;

static ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static partition cut_planar(const bn_layout *layout)
{
    partition p = {.blocks = layout->channels, .block_channels = 1, .fold = 1};
    p.pieces = ceil_div(layout->inner, PLANAR_CHUNK);
    p.n = ceil_div(ceil_div(layout->inner, p.pieces), BN_LANES) * BN_LANES;
    p.n = min(p.n, layout->inner);
    p.pieces = ceil_div(layout->inner, p.n);
    p.rows = p.pieces > 1 ? 1 : PLANAR_CHUNK / layout->inner;
    p.total_rows = layout->outer;
    p.chunks = ceil_div(p.total_rows, p.rows) * p.pieces;
    return p;
}

static partition cut_last(const bn_layout *layout)
{
    ptrdiff_t channels = layout->channels;
    partition p = {.fold = layout->fold, .pieces = 1, .total_rows = layout->outer};
    p.block_channels = channels > BN_MAX_WIDTH ? BLOCK_CHANNELS : channels;
    p.blocks = ceil_div(channels, p.block_channels);
    p.n = p.fold * p.block_channels;
    p.rows = ceil_div(LAST_CHUNK, p.n) * p.fold;
    p.chunks = ceil_div(p.total_rows, p.rows);
    return p;
}

static partition cut(const bn_layout *layout)
{
    return layout->channels_last ? cut_last(layout) : cut_planar(layout);
}

static chunk planar_chunk(const partition *p, const bn_layout *layout, ptrdiff_t i)
{
    ptrdiff_t block = i / p->chunks, k = i % p->chunks;
    chunk c = {.block = block, .channel = block, .channels = 1};
    c.row = k / p->pieces * p->rows;
    c.piece = k % p->pieces * p->n;
    c.rows = min(p->rows, p->total_rows - c.row);
    c.n = min(p->n, layout->inner - c.piece);
    return c;
}

/* Chunk i: all blocks of the first rows, then of the next ones, as they lie in memory. */
static chunk last_chunk(const partition *p, const bn_layout *layout, ptrdiff_t i)
{
    chunk c = {.block = i % p->blocks, .row = i / p->blocks * p->rows};
    c.channel = c.block * p->block_channels;
    c.channels = min(p->block_channels, layout->channels - c.channel);
    ptrdiff_t rows = min(p->rows, p->total_rows - c.row);
    c.rows = rows / p->fold;
    c.n = p->fold * c.channels;
    c.tail = rows % p->fold * c.channels;
    return c;
}

static bn_rows rows_of(const bn_call *call, const partition *p, const chunk *c, bn_operand array)
{
    return (bn_rows){array.data + c->channel * array.channel_stride + c->row * array.outer_stride +
                         c->piece * call->kernels->itemsize,
                     array.outer_stride * p->fold};
}

static bn_rows rows_after(bn_rows rows, ptrdiff_t count)
{
    return (bn_rows){rows.data + count * rows.stride, rows.stride};
}

/* ---- one operation over all chunks ---- */

typedef struct {
    const bn_call *call;
    partition cut;
    bn_operand x, y, dy, dx;
    const bn_channel_values *values;
    bn_coefficients coefficients;
    const double *mean;
    bn_moments *moments; /* [row of chunks][channel] */
    bn_sums *sums;
} operation;

static void for_chunks(const operation *op, bn_range_body body)
{
    const bn_layout *layout = &op->call->layout;
    double values = (double)layout->outer * layout->channels * layout->inner;
    int threads = values < SERIAL_BELOW ? 1 : op->call->threads;
    bn_parallel_for(op->cut.blocks * op->cut.chunks, threads, body, op);
}

static chunk chunk_at(const operation *op, ptrdiff_t i)
{
    const bn_layout *layout = &op->call->layout;
    return layout->channels_last ? last_chunk(&op->cut, layout, i) : planar_chunk(&op->cut, layout, i);
}

/* Where the results of chunk i begin in an array [row of chunks][channel]. */
static ptrdiff_t result_at(const operation *op, ptrdiff_t i, const chunk *c)
{
    ptrdiff_t k = op->call->layout.channels_last ? i / op->cut.blocks : i % op->cut.chunks;
    return k * op->call->layout.channels + c->channel;
}

static double chunk_count(const operation *op, ptrdiff_t k)
{
    const partition *p = &op->cut;
    ptrdiff_t row = k / p->pieces * p->rows, rows = min(p->rows, p->total_rows - row);
    if (op->call->layout.channels_last) return (double)rows;
    return (double)rows * (double)min(p->n, op->call->layout.inner - k % p->pieces * p->n);
}

/* ---- stats ---- */

static void stats_range(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const operation *op = context;
    const bn_kernels *kernels = op->call->kernels;
    for (ptrdiff_t i = begin; i < end; i++) {
        chunk c = chunk_at(op, i);
        bn_rows x = rows_of(op->call, &op->cut, &c, op->x);
        bn_moments *out = op->moments + result_at(op, i, &c);
        if (op->call->layout.channels_last)
            kernels->stats_last(x, c.rows, c.n, c.tail, c.channels, out);
        else
            kernels->stats_planar(x, c.rows, c.n, out);
    }
}

static void merge_chunks(const operation *op, double *count, double *mean, double *m2)
{
    const ptrdiff_t channels = op->call->layout.channels;
    double so_far = 0;
    for (ptrdiff_t c = 0; c < channels; c++) mean[c] = m2[c] = 0;
    for (ptrdiff_t k = 0; k < op->cut.chunks; k++) {
        const bn_moments *moments = op->moments + k * channels;
        double more = chunk_count(op, k);
        for (ptrdiff_t c = 0; c < channels; c++)
            bn_merge(so_far, mean + c, m2 + c, more, moments[c].mean, moments[c].m2);
        so_far += more;
    }
    for (ptrdiff_t c = 0; c < channels; c++) count[c] = so_far;
}

int bn_stats(const bn_call *call, bn_operand x, double *count, double *mean, double *m2)
{
    operation op = {.call = call, .cut = cut(&call->layout), .x = x};
    op.moments = malloc(op.cut.chunks * call->layout.channels * sizeof *op.moments);
    if (!op.moments) return 0;
    for_chunks(&op, stats_range);
    merge_chunks(&op, count, mean, m2);
    free(op.moments);
    return 1;
}

/* ---- normalize ---- */

/* Room for the coefficients of a block of folded rows for every channel. */
static int allocate_coefficients(operation *op)
{
    size_t size = op->cut.fold * op->call->layout.channels * op->call->kernels->itemsize;
    char *memory = malloc(4 * size);
    op->coefficients = (bn_coefficients){memory, memory + size, memory + 2 * size, memory + 3 * size};
    return memory != NULL;
}

typedef void (*prepare)(const bn_channel_values *, ptrdiff_t, const bn_coefficients *, ptrdiff_t);

static void fill_coefficients(const operation *op, prepare prepare_channel)
{
    ptrdiff_t channels = op->call->layout.channels;
    for (ptrdiff_t c = 0; c < channels; c++)
        for (ptrdiff_t f = 0; f < op->cut.fold; f++)
            prepare_channel(op->values, c, &op->coefficients, f * channels + c);
}

static void normalize_range(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const operation *op = context;
    const bn_kernels *kernels = op->call->kernels;
    for (ptrdiff_t i = begin; i < end; i++) {
        chunk c = chunk_at(op, i);
        bn_rows x = rows_of(op->call, &op->cut, &c, op->x), y = rows_of(op->call, &op->cut, &c, op->y);
        if (!op->call->layout.channels_last) {
            kernels->normalize_planar(x, y, c.rows, c.n, &op->coefficients, c.channel);
        } else {
            kernels->normalize_last(x, y, c.rows, c.n, &op->coefficients, c.channel);
            kernels->normalize_last(rows_after(x, c.rows), rows_after(y, c.rows), c.tail > 0, c.tail,
                                    &op->coefficients, c.channel);
        }
    }
}

int bn_normalize(const bn_call *call, bn_operand x, bn_operand y, const bn_channel_values *values)
{
    operation op = {.call = call, .cut = cut(&call->layout), .x = x, .y = y, .values = values};
    if (!allocate_coefficients(&op)) return 0;
    fill_coefficients(&op, call->kernels->prepare_normalize);
    for_chunks(&op, normalize_range);
    free(op.coefficients.mean);
    return 1;
}

/* ---- backward: reduce, then apply ---- */

static void reduce_range(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const operation *op = context;
    const bn_kernels *kernels = op->call->kernels;
    for (ptrdiff_t i = begin; i < end; i++) {
        chunk c = chunk_at(op, i);
        bn_rows dy = rows_of(op->call, &op->cut, &c, op->dy), x = rows_of(op->call, &op->cut, &c, op->x);
        bn_sums *out = op->sums + result_at(op, i, &c);
        if (op->call->layout.channels_last)
            kernels->reduce_last(dy, x, c.rows, c.n, c.tail, c.channels, op->mean + c.channel, out);
        else
            kernels->reduce_planar(dy, x, c.rows, c.n, op->mean[c.channel], out);
    }
}

int bn_reduce(const bn_call *call, bn_operand dy, bn_operand x, const double *mean, double *sum_dy,
              double *sum_dy_xmu)
{
    const ptrdiff_t channels = call->layout.channels;
    operation op = {.call = call, .cut = cut(&call->layout), .dy = dy, .x = x, .mean = mean};
    op.sums = malloc(op.cut.chunks * channels * sizeof *op.sums);
    if (!op.sums) return 0;
    for_chunks(&op, reduce_range);
    for (ptrdiff_t c = 0; c < channels; c++) sum_dy[c] = sum_dy_xmu[c] = 0;
    for (ptrdiff_t k = 0; k < op.cut.chunks; k++)
        for (ptrdiff_t c = 0; c < channels; c++) {
            sum_dy[c] += op.sums[k * channels + c].dy;
            sum_dy_xmu[c] += op.sums[k * channels + c].dy_xmu;
        }
    free(op.sums);
    return 1;
}

static void gradient_range(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const operation *op = context;
    const bn_kernels *kernels = op->call->kernels;
    for (ptrdiff_t i = begin; i < end; i++) {
        chunk c = chunk_at(op, i);
        bn_rows dy = rows_of(op->call, &op->cut, &c, op->dy), x = rows_of(op->call, &op->cut, &c, op->x),
                dx = rows_of(op->call, &op->cut, &c, op->dx);
        if (!op->call->layout.channels_last) {
            kernels->gradient_planar(dy, x, dx, c.rows, c.n, &op->coefficients, c.channel);
        } else {
            kernels->gradient_last(dy, x, dx, c.rows, c.n, &op->coefficients, c.channel);
            kernels->gradient_last(rows_after(dy, c.rows), rows_after(x, c.rows),
                                   rows_after(dx, c.rows), c.tail > 0, c.tail, &op->coefficients,
                                   c.channel);
        }
    }
}

int bn_gradient(const bn_call *call, bn_operand dy, bn_operand x, bn_operand dx,
                const bn_channel_values *values)
{
    operation op = {.call = call, .cut = cut(&call->layout), .dy = dy, .x = x, .dx = dx,
                    .values = values};
    if (!allocate_coefficients(&op)) return 0;
    fill_coefficients(&op, call->kernels->prepare_gradient);
    for_chunks(&op, gradient_range);
    free(op.coefficients.mean);
    return 1;
}
