#include "pooling.h"

#include <string.h>

#include "integers.h"
#include "parallel.h"

enum {
    POOL_SERIAL_BELOW = 32768, /* values: waking threads costs more than they save */
    ITEMS_PER_THREAD = 4,
    RUN_OVER_CHANNELS = 8, /* as many channels make lines that are long enough */
};

typedef enum { MAX, MAX_GRADIENT, MEAN, MEAN_GRADIENT } pool_kind;

/* An item is some channels of an image, in a band of rows: of y forward, of dx backward. */
typedef struct {
    const bn_pooling *call;
    pool_kind kind;
    int gradient;
    int over_channels; /* whether lines of outputs go over the channels, else over the columns */
    int covering;      /* whether each pixel of x is in one window */
    int any_columns;   /* whether the kernel takes windows that differ in what columns are in the image */
    ptrdiff_t block, blocks, band, bands;
} operation;

/* ---- windows ---- */

/* Outputs along one axis whose windows have equally many pixels in reach, beginning with the same one. */
typedef struct {
    ptrdiff_t output, count; /* the first, and how many */
    ptrdiff_t pixel, pixels; /* the first in reach, for the first output, and how many for each */
    ptrdiff_t tap;           /* the number of that pixel in the window */
} segment;

/* Those that begin with `output`, before `end`; pixels `low` to `high` are in reach. */
static segment segment_at(bn_window w, ptrdiff_t output, ptrdiff_t end, ptrdiff_t low, ptrdiff_t high)
{
    const ptrdiff_t start = output * w.stride - w.before;
    segment s = {.output = output, .count = 1, .pixel = bn_max(start, low)};
    s.pixels = bn_max(0, bn_min(start + w.kernel, high) - s.pixel);
    s.tap = s.pixel - start;
    if (s.pixels == w.kernel) { /* as for all windows until one is cut off */
        const ptrdiff_t last = (high - w.kernel + w.before) / w.stride;
        s.count = bn_max(1, bn_min(end, last + 1) - output);
    }
    return s;
}

/* All outputs before `end`, although the first windows, and the last, may be cut off. */
static segment whole_segment(bn_window w, ptrdiff_t output, ptrdiff_t end)
{
    const ptrdiff_t start = output * w.stride - w.before, pixel = bn_max(start, 0);
    return (segment){.output = output, .count = end - output, .pixel = pixel, .tap = pixel - start};
}

/* How many pixels of the window of an output are in the image. */
static ptrdiff_t pixels_in_image(bn_window w, ptrdiff_t output, ptrdiff_t size)
{
    return segment_at(w, output, output + 1, 0, size).pixels;
}

/* How many are in the image or in its padding, which is as wide after the image as before it. The last window
   may reach beyond both. */
static ptrdiff_t pixels_in_padded_image(bn_window w, ptrdiff_t output, ptrdiff_t size)
{
    return bn_min(w.kernel, size + 2 * w.before - output * w.stride);
}

/* The outputs whose windows have pixels of `low` to `high`: from the first to before the second. */
static ptrdiff_t first_output(bn_window w, ptrdiff_t low)
{
    const ptrdiff_t distance = low + w.before - w.kernel;
    return distance < 0 ? 0 : distance / w.stride + 1;
}

static ptrdiff_t last_output(bn_window w, ptrdiff_t outputs, ptrdiff_t high)
{
    return bn_min(outputs, bn_ceil_div(high + w.before, w.stride));
}

/* ---- blocks ---- */

static char *place(const bn_images *images, ptrdiff_t itemsize, ptrdiff_t image, ptrdiff_t channel,
                   ptrdiff_t row, ptrdiff_t column)
{
    return images->data + (image * images->image + channel * images->channel + row * images->row +
                           column * images->column) *
                              itemsize;
}

static double scale_of(const bn_pooling *call, segment row, segment column)
{
    const bn_window *w = call->window;
    if (call->count_padding) {
        const ptrdiff_t rows = pixels_in_padded_image(w[BN_ROWS], row.output, call->x.rows);
        return 1 / ((double)rows * (double)pixels_in_padded_image(w[BN_COLUMNS], column.output, call->x.columns));
    }
    const ptrdiff_t rows = pixels_in_image(w[BN_ROWS], row.output, call->x.rows);
    return 1 / ((double)rows * (double)column.pixels);
}

static bn_pool_steps steps_of(const operation *op, const bn_images *images, ptrdiff_t row_stride,
                              ptrdiff_t column_stride)
{
    const ptrdiff_t row = images->row * row_stride, column = images->column * column_stride;
    return op->over_channels ? (bn_pool_steps){images->channel, column} : (bn_pool_steps){column, row};
}

/* The windows of a segment of rows and of one of columns. Over channels, there is one row. */
static bn_pool_block block_of(const operation *op, ptrdiff_t channel, ptrdiff_t channels, segment row,
                              segment column)
{
    const bn_pooling *call = op->call;
    const bn_window *w = call->window;
    const ptrdiff_t row_stride = w[BN_ROWS].stride, column_stride = w[BN_COLUMNS].stride;
    bn_pool_block b = {.n = op->over_channels ? channels : column.count,
                       .lines = op->over_channels ? column.count : row.count,
                       .x = steps_of(op, &call->x, row_stride, column_stride),
                       .y = steps_of(op, &call->y, 1, 1),
                       .position = steps_of(op, &call->positions, 1, 1),
                       .rows = row.pixels,
                       .columns = column.pixels,
                       .row = call->x.row,
                       .column = call->x.column,
                       .position_bytes = call->position_bytes};
    if (call->sign) b.sign = (const char *)call->sign + channel * call->kernels->itemsize;
    if (call->position_bytes == 1) {
        b.pitch = w[BN_COLUMNS].kernel;
        b.first = row.tap * b.pitch + (op->any_columns ? 0 : column.tap);
        b.skipped = op->any_columns ? column.tap : 0;
    } else {
        b.pitch = call->x.columns;
        b.first = row.pixel * b.pitch + column.pixel;
        b.number = op->over_channels ? (bn_pool_steps){0, column_stride}
                                     : (bn_pool_steps){column_stride, row_stride * b.pitch};
    }
    if (op->kind == MEAN || op->kind == MEAN_GRADIENT) b.scale = scale_of(call, row, column);
    return b;
}

static void run_block(const operation *op, ptrdiff_t image, ptrdiff_t channel, ptrdiff_t channels,
                      segment row, segment column)
{
    const bn_pooling *call = op->call;
    const bn_pool_kernels *k = call->kernels;
    const bn_pool_block b = block_of(op, channel, channels, row, column);
    char *x = place(&call->x, k->itemsize, image, channel, row.pixel, column.pixel);
    char *y = place(&call->y, k->itemsize, image, channel, row.output, column.output);
    char *positions = NULL;
    if (call->positions.data)
        positions = place(&call->positions, call->position_bytes, image, channel, row.output, column.output);
    switch (op->kind) {
    case MAX: k->max(&b, x, y, positions); break;
    case MAX_GRADIENT:
        (op->covering ? k->set_max_gradient : k->add_max_gradient)(&b, x, y, positions);
        break;
    case MEAN: k->mean(&b, x, y); break;
    case MEAN_GRADIENT: (op->covering ? k->set_mean_gradient : k->add_mean_gradient)(&b, x, y); break;
    }
}

/* ---- items ---- */

/* Zero these rows of dx. */
static void clear(const operation *op, ptrdiff_t image, ptrdiff_t channel, ptrdiff_t channels,
                  ptrdiff_t begin, ptrdiff_t end)
{
    const bn_images *dx = &op->call->x;
    const ptrdiff_t itemsize = op->call->kernels->itemsize, columns = dx->columns;
    if (dx->row == columns * dx->column && dx->column == (op->over_channels ? channels : 1)) {
        memset(place(dx, itemsize, image, channel, begin, 0), 0,
               (end - begin) * columns * dx->column * itemsize);
        return;
    }
    for (ptrdiff_t row = begin; row < end; row++)
        for (ptrdiff_t column = 0; column < columns; column++) {
            if (dx->channel == 1) {
                memset(place(dx, itemsize, image, channel, row, column), 0, channels * itemsize);
                continue;
            }
            for (ptrdiff_t c = 0; c < channels; c++)
                memset(place(dx, itemsize, image, channel + c, row, column), 0, itemsize);
        }
}

/* Columns are in the outer loop, so that every pixel of dx is added up in one order, whatever the bands
   and the lines are. */
static void run_item(const operation *op, ptrdiff_t item)
{
    const bn_pooling *call = op->call;
    const bn_window *w = call->window;
    const ptrdiff_t image = item / (op->blocks * op->bands);
    const ptrdiff_t channel = item / op->bands % op->blocks * op->block;
    const ptrdiff_t channels = bn_min(op->block, call->x.channels - channel);
    const ptrdiff_t begin = item % op->bands * op->band;
    const ptrdiff_t end = bn_min(begin + op->band, op->gradient ? call->x.rows : call->y.rows);
    const ptrdiff_t low = op->gradient ? begin : 0, high = op->gradient ? end : call->x.rows;
    const ptrdiff_t first = op->gradient ? first_output(w[BN_ROWS], low) : begin;
    const ptrdiff_t last = op->gradient ? last_output(w[BN_ROWS], call->y.rows, high) : end;
    if (op->gradient && !op->covering) clear(op, image, channel, channels, begin, end);
    segment column = {0}, row = {0};
    for (ptrdiff_t c = 0; c < call->y.columns; c += column.count) {
        const ptrdiff_t stop = bn_min(c + BN_POOL_RUN, call->y.columns);
        column = op->any_columns ? whole_segment(w[BN_COLUMNS], c, stop)
                                 : segment_at(w[BN_COLUMNS], c, stop, 0, call->x.columns);
        for (ptrdiff_t r = first; r < last; r += row.count) {
            row = segment_at(w[BN_ROWS], r, op->over_channels ? r + 1 : last, low, high);
            run_block(op, image, channel, channels, row, column);
        }
    }
}

static void run_items(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    (void)worker;
    for (ptrdiff_t i = begin; i < end; i++) run_item(context, i);
}

static int covers(bn_window w, ptrdiff_t size, ptrdiff_t outputs)
{
    return w.before == 0 && w.kernel == w.stride && outputs * w.stride == size;
}

static void run(const bn_pooling *given, pool_kind kind)
{
    bn_pooling call = *given;
    bn_window *w = call.window;
    const bn_images *x = &call.x, *y = &call.y;
    operation op = {.call = &call, .kind = kind, .gradient = kind == MAX_GRADIENT || kind == MEAN_GRADIENT};
    if (call.images == 0 || x->channels == 0) return;
    if (op.gradient && (x->rows == 0 || x->columns == 0)) return;
    /* The stride of a single window does not matter; it may be too large to calculate with. */
    if (y->rows == 1) w[BN_ROWS].stride = w[BN_ROWS].kernel;
    if (y->columns == 1) w[BN_COLUMNS].stride = w[BN_COLUMNS].kernel;
    op.over_channels = x->channel == 1 && (x->channels >= RUN_OVER_CHANNELS || call.sign);
    op.covering = covers(w[BN_ROWS], x->rows, y->rows) && covers(w[BN_COLUMNS], x->columns, y->columns) &&
                  (kind != MAX_GRADIENT || call.position_bytes == 1);
    op.any_columns = kind == MAX_GRADIENT && !op.covering && call.position_bytes == 1;
    op.block = op.over_channels ? BN_POOL_RUN : 1;
    op.blocks = bn_ceil_div(x->channels, op.block);
    const double values = (double)call.images * x->channels * x->rows * x->columns;
    const int threads = values < POOL_SERIAL_BELOW ? 1 : call.threads;
    const ptrdiff_t rows = op.gradient ? x->rows : y->rows;
    const ptrdiff_t wanted = threads > 1 ? ITEMS_PER_THREAD * threads : 1;
    op.band = bn_ceil_div(rows, bn_min(rows, bn_ceil_div(wanted, call.images * op.blocks)));
    op.bands = bn_ceil_div(rows, op.band);
    bn_parallel_for(call.images * op.blocks * op.bands, threads, run_items, &op);
}

void bn_pool_max(const bn_pooling *call) { run(call, MAX); }
void bn_pool_max_gradient(const bn_pooling *call) { run(call, MAX_GRADIENT); }
void bn_pool_mean(const bn_pooling *call) { run(call, MEAN); }
void bn_pool_mean_gradient(const bn_pooling *call) { run(call, MEAN_GRADIENT); }
