#include "resampling.h"

#include <string.h>

#include "arena.h"
#include "integers.h"
#include "memory.h"
#include "parallel.h"

enum { SERIAL_BELOW = 32768 }; /* values: waking threads costs more than they save */

/* An item is a row of y: of all channels of an image if these lie side by side, else of one channel. First
   the rows of x that it is computed from become one row, in the buffer, and then its columns are computed. */
typedef struct {
    const bn_resampling *call;
    int over_channels;
    ptrdiff_t channels; /* of an item */
    char *buffers;
    size_t buffer; /* bytes of a worker's */
} operation;

static char *place(const bn_resampling *call, const bn_images *images, ptrdiff_t image, ptrdiff_t channel,
                   ptrdiff_t row)
{
    return images->data +
           (image * images->image + channel * images->channel + row * images->row) * call->kernels->itemsize;
}

/* The row of x's columns for a row of y: in the buffer, or in x itself if it is one of its rows. */
static const char *combine_rows(const operation *op, const char *x, ptrdiff_t row, char *buffer)
{
    const bn_resampling *call = op->call;
    const bn_resample_kernels *k = call->kernels;
    const bn_images *images = &call->x;
    const bn_taps *taps = &call->taps[BN_ROWS];
    const int side_by_side = images->column == op->channels;
    if (taps->copies && taps->count[row] == 1 && side_by_side)
        return x + taps->first[row] * images->row * k->itemsize;
    if (side_by_side || !op->over_channels) {
        const ptrdiff_t step = side_by_side ? 1 : images->column;
        k->combine(buffer, x, images->row, step, taps, row, images->columns * op->channels);
        return buffer;
    }
    for (ptrdiff_t c = 0; c < images->columns; c++)
        k->combine(buffer + c * op->channels * k->itemsize, x + c * images->column * k->itemsize, images->row,
                   1, taps, row, op->channels);
    return buffer;
}

/* A row of y whose columns, with the values of their channels, are those of x and zeros around them. */
static void copy_columns(const operation *op, char *to, const char *from)
{
    const bn_taps *taps = &op->call->taps[BN_COLUMNS];
    const ptrdiff_t size = op->channels * op->call->kernels->itemsize;
    const ptrdiff_t begin = taps->run.begin, end = taps->run.end;
    memset(to, 0, begin * size);
    memcpy(to + begin * size, from + taps->first[begin] * size, (end - begin) * size);
    memset(to + end * size, 0, (taps->outputs - end) * size);
}

static void run_item(const operation *op, ptrdiff_t item, char *buffer)
{
    const bn_resampling *call = op->call;
    const bn_resample_kernels *k = call->kernels;
    const bn_taps *taps = call->taps;
    const ptrdiff_t planes = call->x.channels / op->channels;
    const ptrdiff_t plane = item / taps[BN_ROWS].outputs, row = item % taps[BN_ROWS].outputs;
    const ptrdiff_t image = plane / planes, channel = plane % planes;
    const char *from = combine_rows(op, place(call, &call->x, image, channel, 0), row, buffer);
    char *to = place(call, &call->y, image, channel, row);
    if (taps[BN_COLUMNS].run.begin < taps[BN_COLUMNS].run.end && call->y.column == op->channels) {
        copy_columns(op, to, from);
        return;
    }
    if (!op->over_channels) {
        k->resample_line(to, call->y.column, from, &taps[BN_COLUMNS]);
        return;
    }
    for (ptrdiff_t j = 0; j < taps[BN_COLUMNS].outputs; j++)
        k->combine(to + j * call->y.column * k->itemsize, from, op->channels, 1, &taps[BN_COLUMNS], j,
                   op->channels);
}

static void run_items(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    const operation *op = context;
    for (ptrdiff_t i = begin; i < end; i++) run_item(op, i, op->buffers + worker * op->buffer);
}

int bn_resample(const bn_resampling *call)
{
    const bn_images *x = &call->x, *y = &call->y;
    operation op = {.call = call, .channels = 1};
    const double pixels = (double)bn_max(x->rows * x->columns, y->rows * y->columns);
    const double values = (double)call->images * x->channels * pixels;
    if (call->images == 0 || x->channels == 0 || y->rows == 0 || y->columns == 0) return 1;
    op.over_channels = x->channels > 1 && x->channel == 1 && y->channel == 1;
    if (op.over_channels) op.channels = x->channels;
    const int threads = values < SERIAL_BELOW ? 1 : call->threads;
    op.buffer = bn_whole_lines(x->columns * op.channels * call->kernels->itemsize);
    const size_t bytes = threads * op.buffer + BN_LINE;
    char *memory = bn_memory_malloc(NULL, bytes);
    if (!memory) return 0;
    op.buffers = (char *)bn_whole_lines((size_t)memory);
    bn_parallel_for(call->images * (x->channels / op.channels) * y->rows, threads, run_items, &op);
    bn_memory_free(NULL, memory, bytes);
    return 1;
}
