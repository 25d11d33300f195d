#include "conv_dweight.h"

#include <string.h>

#include "arena.h"
#include "integers.h"
#include "memory.h"
#include "parallel.h"
#include "relation.h"
#include "winograd.h"

enum {
    PARTS = 8, /* of the sums; fewer if they were larger than half of x and dy */
    WINOGRAD_CHANNELS = 24, /* of x and of y: for fewer, transforming takes too long */
};

/* The items are divided into parts, and each part's sums are stored. The number of parts
   follows from the shapes alone, because the order of additions does too. Several tasks may share a part;
   each then has other output channels. */
typedef struct {
    bn_relation r;
    bn_phase phase;
    ptrdiff_t parts, shares; /* tasks: parts * shares */
    bn_range *column_pixels; /* for each column of taps; row_pixels for each worker and row of taps */
    bn_range *row_pixels;
    char *sums, *bias_sums, *buffers, *transformed;
    void *dweight, *dbias;   /* dbias may be NULL */
    size_t buffer, part, bias_part, transformed_bytes; /* bytes, of a worker and of a part */
    int threads;
} dweight_operation;

/* The rows of the item for which the pixels of each row of taps are inside of the image. */
static void set_row_pixels(const dweight_operation *op, bn_item it, bn_range *row_pixels)
{
    const bn_axis_taps *t = &op->phase.taps[BN_ROWS];
    for (ptrdiff_t tap = 0; tap < t->count; tap++) {
        const bn_range g = bn_groups_inside(&op->r, BN_ROWS, t, tap, it.group + it.groups);
        row_pixels[tap] = (bn_range){bn_max(g.begin - it.group, 0), g.end - it.group};
    }
}

static void add_item(const dweight_operation *op, bn_item it, ptrdiff_t part, ptrdiff_t channel,
                     ptrdiff_t channels, int worker)
{
    const bn_relation *r = &op->r;
    const bn_conv_kernels *k = r->call->kernels;
    bn_range *row_pixels = op->row_pixels + worker * op->phase.taps[BN_ROWS].count;
    char *buffer = op->buffers + worker * op->buffer;
    char *dy_buffer = buffer + bn_whole_lines(r->batch * bn_from_bytes(r));
    bn_grid grid = op->phase.grid;
    grid.images = it.images, grid.rows = it.groups, grid.columns = r->to.columns;
    grid.row_pixels = row_pixels, grid.column_pixels = op->column_pixels;
    set_row_pixels(op, it, row_pixels);
    const char *x = bn_load_from(r, it, buffer, &grid) + op->phase.first * k->itemsize;
    char *dy = bn_place_to(r, it, dy_buffer, &grid);
    if (dy == dy_buffer) bn_copy_to(r, it, dy, 1, channel, channels);
    char *sums = op->sums + part * op->part;
    if (r->winograd)
        bn_winograd_add_dweight(r, &grid, x, dy, sums, channel, channel + channels,
                                op->transformed + worker * op->transformed_bytes);
    else k->add_dweight(sums, x, dy, &grid, channel, channel + channels, r->pitch);
    if (op->dbias) k->add_dbias(op->bias_sums + part * op->bias_part, dy, &grid, channel, channel + channels);
}

static void add_parts(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    const dweight_operation *op = context;
    const bn_relation *r = &op->r;
    const bn_conv_kernels *k = r->call->kernels;
    const ptrdiff_t blocks = bn_ceil_div(r->to.channels, k->block);
    memset(op->buffers + worker * op->buffer, 0, op->buffer); /* beyond the last channel of dy, too */
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t part = task / op->shares, share = task % op->shares;
        const ptrdiff_t channel = share * blocks / op->shares * k->block;
        const ptrdiff_t last = bn_min((share + 1) * blocks / op->shares * k->block, r->to.channels);
        for (ptrdiff_t i = part * r->items / op->parts; i < (part + 1) * r->items / op->parts; i++)
            add_item(op, bn_item_at(r, i), part, channel, last - channel, worker);
    }
}

static void clear_parts(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    (void)worker;
    const dweight_operation *op = context;
    memset(op->sums + begin * op->part, 0, (end - begin) * op->part);
    memset(op->bias_sums + begin * op->bias_part, 0, (end - begin) * op->bias_part);
}

static void sum_parts(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    (void)worker;
    const dweight_operation *op = context;
    const bn_relation *r = &op->r;
    const bn_conv_kernels *k = r->call->kernels;
    for (ptrdiff_t i = begin; i < end; i++)
        (r->winograd ? k->winograd_dweight : k->sum_dweights)(op->dweight, &op->phase.weights, op->sums, op->parts, r->pitch, i);
}

static void sum_bias_parts(const dweight_operation *op)
{
    const bn_relation *r = &op->r;
    const bn_weights bias = {
        .tap_rows = 1, .tap_columns = 1, .inputs = 1, .outputs = r->to.channels, .output_step = 1};
    r->call->kernels->sum_dweights(op->dbias, &bias, op->bias_sums, op->parts, r->pitch, 0);
}

static void lay_out_dweight(dweight_operation *op, bn_arena *a)
{
    const bn_axis_taps *taps = op->phase.taps;
    op->column_pixels = bn_take(a, taps[BN_COLUMNS].count * sizeof(bn_range));
    op->row_pixels = bn_take(a, op->threads * taps[BN_ROWS].count * sizeof(bn_range));
    op->sums = bn_take(a, op->parts * op->part);
    op->bias_sums = bn_take(a, op->parts * op->bias_part);
    const ptrdiff_t workers = bn_min(op->threads, op->parts * op->shares);
    op->buffers = bn_take(a, workers * op->buffer);
    op->transformed = bn_take(a, workers * op->transformed_bytes);
}

static void run_dweight(dweight_operation *op)
{
    const bn_weights *w = &op->phase.weights;
    const bn_axis_taps *columns = &op->phase.taps[BN_COLUMNS];
    for (ptrdiff_t tap = 0; tap < columns->count; tap++)
        op->column_pixels[tap] = bn_groups_inside(&op->r, BN_COLUMNS, columns, tap, op->r.to.columns);
    bn_parallel_for(op->parts, op->threads, clear_parts, op);
    bn_parallel_for(op->parts * op->shares, op->threads, add_parts, op);
    bn_parallel_for(w->inputs, op->threads, sum_parts, op);
    if (op->dbias) sum_bias_parts(op);
}

static ptrdiff_t data_bytes(const bn_convolution *call)
{
    const ptrdiff_t x = call->x.channels * call->x.rows * call->x.columns;
    const ptrdiff_t y = call->y.channels * call->y.rows * call->y.columns;
    return call->images * (x + y) * call->kernels->itemsize;
}

int bn_convolve_dweight_of(const bn_convolution *call, void *dbias)
{
    dweight_operation op = {.threads = bn_conv_threads(call), .dweight = call->weight, .dbias = dbias};
    const bn_relation *r = &op.r;
    const ptrdiff_t taps = call->window[BN_ROWS].kernel * call->window[BN_COLUMNS].kernel;
    const ptrdiff_t tasks = op.threads > 1 ? BN_ITEMS_PER_THREAD * op.threads : 1;
    op.bias_part = bn_vector_channels(call, call->y.channels) * call->kernels->itemsize;
    const ptrdiff_t channels = call->winograd ? WINOGRAD_CHANNELS : 0;
    const int winograd = bn_relate(call, 0, 1, channels).winograd;
    op.part = (winograd ? BN_PLACES : taps) * (call->depthwise ? 1 : call->x.channels) * op.bias_part;
    const ptrdiff_t most_parts = bn_max(1, bn_min(PARTS, data_bytes(call) / 2 / (ptrdiff_t)op.part));
    op.r = bn_relate(call, 0, most_parts, channels);
    op.transformed_bytes = winograd ? bn_whole_lines(bn_winograd_bytes(r)) : 0;
    op.parts = bn_max(1, bn_min(most_parts, r->items));
    op.shares = bn_min(bn_ceil_div(tasks, op.parts), bn_ceil_div(r->to.channels, call->kernels->block));
    op.buffer = bn_buffer_bytes(r);
    bn_set_phase(r, &op.phase);
    bn_arena counted = {0};
    lay_out_dweight(&op, &counted);
    char *memory = bn_memory_malloc(NULL, counted.used + BN_LINE);
    if (!memory) return 0;
    lay_out_dweight(&op, &(bn_arena){.memory = (char *)bn_whole_lines((size_t)memory)});
    run_dweight(&op);
    bn_memory_free(NULL, memory, counted.used + BN_LINE);
    return 1;
}

