#include "convolution.h"

#include <string.h>

#include "arena.h"
#include "integers.h"
#include "memory.h"
#include "parallel.h"

/* docs/design.md, "Convolutions", tells the reasons for these. */
enum {
    WORK_BYTES = 256 * 1024, /* what the buffers of a worker may hold */
    PARTS = 8, /* of the sums of the weight's gradient; fewer if they were larger than half of x and dy */
    ITEMS_PER_THREAD = 4,
    CONV_SERIAL_BELOW = 1 << 20, /* multiplications */
};

/* ---- which pixels are computed from which ---- */

/* How the pixels of one batch, `to`, are computed from those of another, `from`. Forward, `to` is y. For
   dx, pixels of x that lie a stride apart are computed with the same taps of the kernel; those with
   different taps are different phases. A group is `step` adjoining pixels, one of each phase. */
typedef struct {
    const bn_convolution *call;
    bn_images from, to;
    int gradient;         /* whether it is dx that is computed */
    ptrdiff_t step[2];    /* of `to`, from a group to the next */
    ptrdiff_t advance[2]; /* of `from`, from a group to the next */
    ptrdiff_t first[2];   /* of `from`, the first that is read for the first group; it may be negative */
    ptrdiff_t reach[2];   /* of `from`, how many are read for one group */
    ptrdiff_t groups[2];
    ptrdiff_t width;      /* columns of the buffer with pixels of `from` */
    ptrdiff_t from_pitch; /* channels of `from` in its buffer; depthwise, in whole vectors */
    ptrdiff_t pitch;      /* channels of `to`, in whole vectors */
    /* An item is `batch` whole images, or a band of groups of rows of one image. */
    ptrdiff_t batch, band, bands, items;
} relation;

static ptrdiff_t floor_div(ptrdiff_t a, ptrdiff_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

static void relate_axis(relation *r, int axis, ptrdiff_t size)
{
    const bn_window w = r->call->window[axis];
    const ptrdiff_t span = w.dilation * (w.kernel - 1);
    if (r->gradient) {
        r->step[axis] = w.stride, r->advance[axis] = 1;
        r->first[axis] = floor_div(w.before - span, w.stride);
        r->reach[axis] = floor_div(w.stride - 1 + w.before, w.stride) - r->first[axis] + 1;
    } else {
        r->step[axis] = 1, r->advance[axis] = w.stride;
        r->first[axis] = -w.before;
        r->reach[axis] = span + 1;
    }
    r->groups[axis] = bn_ceil_div(size, r->step[axis]);
}

/* Input channels of each output channel. */
static ptrdiff_t inputs_of(const relation *r) { return r->call->depthwise ? 1 : r->from.channels; }

static ptrdiff_t from_rows(const relation *r, ptrdiff_t groups)
{
    return (groups - 1) * r->advance[BN_ROWS] + r->reach[BN_ROWS];
}

static size_t from_bytes(const relation *r)
{
    return from_rows(r, r->band) * r->width * r->from_pitch * r->call->kernels->itemsize;
}

static size_t to_bytes(const relation *r)
{
    const ptrdiff_t rows = bn_min(r->band * r->step[BN_ROWS], r->to.rows);
    return rows * r->to.columns * r->pitch * r->call->kernels->itemsize;
}

/* Whether the pixels of `to` are pooled before they are stored. */
static int pools(const relation *r) { return !r->gradient && r->call->epilogue.pooling.kernels != NULL; }

/* Items whose pixels stay in a core's cache, and at least `wanted` in all, if there are so many. No window
   of a pooling is in two bands. */
static void cut(relation *r, ptrdiff_t wanted)
{
    const ptrdiff_t groups = r->groups[BN_ROWS], images = bn_max(1, r->call->images);
    const ptrdiff_t unit = pools(r) ? r->call->epilogue.pooling.window[BN_ROWS].kernel : 1;
    r->band = 1;
    const ptrdiff_t fit = bn_max(1, WORK_BYTES / (ptrdiff_t)(from_bytes(r) + to_bytes(r)));
    const ptrdiff_t most = bn_max(1, groups / bn_ceil_div(wanted, images));
    r->bands = bn_ceil_div(groups, bn_min(fit, most));
    r->band = bn_ceil_div(bn_ceil_div(groups, r->bands), unit) * unit;
    r->bands = bn_ceil_div(groups, r->band);
    r->batch = 1;
    if (r->bands == 1) {
        const ptrdiff_t images_fit = WORK_BYTES / (ptrdiff_t)(from_bytes(r) + to_bytes(r));
        r->batch = bn_max(1, bn_min(images_fit, images / wanted));
    }
    r->items = bn_ceil_div(r->call->images, r->batch) * r->bands;
}

/* This many channels in whole vectors. */
static ptrdiff_t vector_channels(const bn_convolution *call, ptrdiff_t channels)
{
    return bn_ceil_div(channels, call->kernels->lanes) * call->kernels->lanes;
}

static relation relate(const bn_convolution *call, int gradient, ptrdiff_t wanted)
{
    relation r = {.call = call, .gradient = gradient};
    r.from = gradient ? call->y : call->x;
    r.to = gradient ? call->x : call->y;
    relate_axis(&r, BN_ROWS, r.to.rows);
    relate_axis(&r, BN_COLUMNS, r.to.columns);
    r.width = (r.groups[BN_COLUMNS] - 1) * r.advance[BN_COLUMNS] + r.reach[BN_COLUMNS];
    r.from_pitch = call->depthwise ? vector_channels(call, r.from.channels) : r.from.channels;
    r.pitch = vector_channels(call, r.to.channels);
    cut(&r, wanted);
    return r;
}

/* ---- the taps of a phase ---- */

/* The taps of a phase along one axis, in the order of the pixels of `from` that they multiply. They are
   evenly spaced, in the kernel and among the pixels that are read for a group. */
typedef struct {
    ptrdiff_t count;
    ptrdiff_t tap, tap_step;
    ptrdiff_t place, place_step;
} axis_taps;

typedef struct {
    ptrdiff_t at[2]; /* its first pixel in a group */
    axis_taps taps[2];
    bn_grid grid;    /* what differs between items is set for each */
    ptrdiff_t first; /* from a group's first value in `from` to that of the first tap */
    bn_weights weights;
    char *packed;
} phase;

static axis_taps find_taps(const relation *r, int axis, ptrdiff_t at)
{
    const bn_window w = r->call->window[axis];
    axis_taps found = {.tap_step = 1, .place_step = 1};
    for (ptrdiff_t i = 0; i < w.kernel; i++) {
        const ptrdiff_t tap = r->gradient ? w.kernel - 1 - i : i;
        ptrdiff_t place = tap * w.dilation;
        if (r->gradient) {
            const ptrdiff_t distance = at + w.before - place;
            place = floor_div(distance, w.stride);
            if (place * w.stride != distance) continue;
            place -= r->first[axis];
        }
        if (found.count == 0) found.tap = tap, found.place = place;
        if (found.count == 1) found.tap_step = tap - found.tap, found.place_step = place - found.place;
        found.count++;
    }
    return found;
}

/* Fill a phase, but for `at`, `packed` and what differs between items. */
static void set_phase(const relation *r, phase *p)
{
    const bn_window *window = r->call->window;
    const ptrdiff_t pitch = r->from_pitch, inputs = inputs_of(r);
    const axis_taps rows = p->taps[BN_ROWS] = find_taps(r, BN_ROWS, p->at[BN_ROWS]);
    const axis_taps columns = p->taps[BN_COLUMNS] = find_taps(r, BN_COLUMNS, p->at[BN_COLUMNS]);
    p->first = (rows.place * r->width + columns.place) * pitch;
    p->grid = (bn_grid){.depthwise = r->call->depthwise,
                        .x_row = r->advance[BN_ROWS] * r->width * pitch,
                        .x_column = r->advance[BN_COLUMNS] * pitch,
                        .y_row = r->step[BN_ROWS] * r->to.columns * r->pitch,
                        .y_column = r->step[BN_COLUMNS] * r->pitch,
                        .tap_rows = rows.count,
                        .tap_columns = columns.count,
                        .inputs = inputs,
                        .x_tap_row = rows.place_step * r->width * pitch,
                        .x_tap_column = columns.place_step * pitch};
    /* The weight is (channels of y, channels of x, kernel rows, kernel columns); depthwise, with 1 for the
       channels of x. */
    const ptrdiff_t kernel_columns = window[BN_COLUMNS].kernel, taps = window[BN_ROWS].kernel * kernel_columns;
    p->weights = (bn_weights){.tap_rows = rows.count,
                              .tap_columns = columns.count,
                              .inputs = inputs,
                              .outputs = r->to.channels,
                              .first = rows.tap * kernel_columns + columns.tap,
                              .row_step = rows.tap_step * kernel_columns,
                              .column_step = columns.tap_step,
                              .input_step = r->gradient ? taps * r->to.channels : taps,
                              .output_step = r->gradient ? taps : taps * inputs};
}

/* ---- the zeros around an image ---- */

/* The groups, of those before `end`, for which the pixels of one tap are inside of the image. */
static bn_range groups_inside(const relation *r, int axis, const axis_taps *t, ptrdiff_t tap, ptrdiff_t end)
{
    const ptrdiff_t size = axis == BN_ROWS ? r->from.rows : r->from.columns;
    const ptrdiff_t first = r->first[axis] + t->place + tap * t->place_step;
    const ptrdiff_t before = first < 0 ? bn_ceil_div(-first, r->advance[axis]) : 0;
    const ptrdiff_t until = first < size ? bn_ceil_div(size - first, r->advance[axis]) : 0;
    return (bn_range){bn_min(before, end), bn_min(until, end)};
}

/* ---- buffers ---- */

static char *pixel(const relation *r, const bn_images *images, ptrdiff_t image, ptrdiff_t channel,
                   ptrdiff_t row, ptrdiff_t column)
{
    return images->data + (image * images->image + channel * images->channel + row * images->row +
                           column * images->column) *
                              r->call->kernels->itemsize;
}

/* Whether rows of these images are laid out like those of a buffer. */
static int like_a_buffer(const bn_images *images, ptrdiff_t width, ptrdiff_t pitch)
{
    return images->channels == pitch && images->columns == width && images->channel == 1 &&
           images->column == pitch && images->row == width * pitch;
}

/* The images and the groups of rows that an item covers. */
typedef struct {
    ptrdiff_t image, images, group, groups;
} item;

static item item_at(const relation *r, ptrdiff_t i)
{
    item it = {.image = i / r->bands * r->batch, .group = i % r->bands * r->band};
    it.images = bn_min(r->batch, r->call->images - it.image);
    it.groups = bn_min(r->band, r->groups[BN_ROWS] - it.group);
    return it;
}

/* The pixels of `from` for `groups` groups of rows, with zeros around the image. */
static void load_image(const relation *r, ptrdiff_t image, ptrdiff_t group, ptrdiff_t groups, char *buffer)
{
    const bn_images *from = &r->from;
    const ptrdiff_t size = r->from_pitch * r->call->kernels->itemsize; /* of a pixel */
    const ptrdiff_t top = group * r->advance[BN_ROWS] + r->first[BN_ROWS], left = r->first[BN_COLUMNS];
    const ptrdiff_t rows = from_rows(r, groups);
    const ptrdiff_t begin = bn_min(bn_max(-left, 0), r->width);
    const ptrdiff_t end = bn_max(begin, bn_min(from->columns - left, r->width));
    for (ptrdiff_t i = 0; i < rows; i++) {
        char *to = buffer + i * r->width * size;
        const int inside = top + i >= 0 && top + i < from->rows && begin < end;
        if (!inside) {
            memset(to, 0, r->width * size);
            continue;
        }
        memset(to, 0, begin * size);
        r->call->kernels->copy_pixels(
            to + begin * size, (bn_pixel_steps){r->from_pitch, 1},
            pixel(r, from, image, 0, top + i, left + begin),
            (bn_pixel_steps){from->column, from->channel}, end - begin, from->channels);
        memset(to + end * size, 0, (r->width - end) * size);
    }
}

/* The pixels of `from` for an item: in the buffer, or in the images themselves if they can be read there.
   Sets the grid's step from image to image. */
static const char *load_from(const relation *r, item it, char *buffer, bn_grid *grid)
{
    const bn_images *from = &r->from;
    const ptrdiff_t top = it.group * r->advance[BN_ROWS] + r->first[BN_ROWS];
    grid->x_image = from->image;
    if (r->first[BN_COLUMNS] == 0 && top >= 0 && top + from_rows(r, it.groups) <= from->rows &&
        like_a_buffer(from, r->width, r->from_pitch))
        return pixel(r, from, it.image, 0, top, 0);
    grid->x_image = from_bytes(r) / r->call->kernels->itemsize;
    for (ptrdiff_t i = 0; i < it.images; i++)
        load_image(r, it.image + i, it.group, it.groups, buffer + i * from_bytes(r));
    return buffer;
}

/* Where an item's pixels of `to` are: in the buffer, or in the images if they are laid out like it. Sets
   the grid's step from image to image. */
static char *place_to(const relation *r, item it, char *buffer, bn_grid *grid)
{
    grid->y_image = r->to.image;
    if (!pools(r) && like_a_buffer(&r->to, r->to.columns, r->pitch))
        return pixel(r, &r->to, it.image, 0, it.group * r->step[BN_ROWS], 0);
    grid->y_image = to_bytes(r) / r->call->kernels->itemsize;
    return buffer;
}

/* Copy an item's pixels, some of their channels, from the buffer to images that are like `to`, or into it. */
static void copy_pixels(const relation *r, const bn_images *images, item it, char *buffer, int load,
                        ptrdiff_t channel, ptrdiff_t channels)
{
    const bn_conv_kernels *k = r->call->kernels;
    const bn_pixel_steps inside = {r->pitch, 1}, outside = {images->column, images->channel};
    const ptrdiff_t begin = it.group * r->step[BN_ROWS];
    const ptrdiff_t rows = bn_min(it.groups * r->step[BN_ROWS], r->to.rows - begin);
    for (ptrdiff_t i = 0; i < it.images; i++)
        for (ptrdiff_t row = 0; row < rows; row++) {
            char *place = pixel(r, images, it.image + i, channel, begin + row, 0);
            char *at = buffer + i * to_bytes(r) + (row * r->to.columns * r->pitch + channel) * k->itemsize;
            if (load) k->copy_pixels(at, inside, place, outside, r->to.columns, channels);
            else k->copy_pixels(place, outside, at, inside, r->to.columns, channels);
        }
}

static void copy_to(const relation *r, item it, char *buffer, int load, ptrdiff_t channel,
                    ptrdiff_t channels)
{
    copy_pixels(r, &r->to, it, buffer, load, channel, channels);
}

/* Pool an item's pixels, which are in the buffer. */
static void pool_item(const relation *r, item it, char *buffer)
{
    const ptrdiff_t itemsize = r->call->kernels->itemsize, rows = bn_min(it.groups, r->to.rows - it.group);
    bn_pooling call = r->call->epilogue.pooling;
    const bn_images *y = &call.y, *positions = &call.positions;
    const ptrdiff_t row = it.group / call.window[BN_ROWS].kernel;
    call.threads = 1, call.images = it.images;
    call.x = (bn_images){.data = buffer,
                         .channels = r->to.channels,
                         .rows = rows,
                         .columns = r->to.columns,
                         .image = to_bytes(r) / itemsize,
                         .channel = 1,
                         .row = r->to.columns * r->pitch,
                         .column = r->pitch};
    call.y.data += (it.image * y->image + row * y->row) * itemsize;
    if (positions->data) call.positions.data += it.image * positions->image + row * positions->row;
    call.y.rows = rows / call.window[BN_ROWS].kernel;
    if (call.y.rows > 0) bn_pool_max(&call);
}

/* Bytes of a worker's two buffers. */
static size_t buffer_bytes(const relation *r)
{
    return bn_whole_lines(r->batch * from_bytes(r)) + bn_whole_lines(r->batch * to_bytes(r));
}

/* ---- y and dx ---- */

typedef struct {
    relation r;
    phase *phases;
    ptrdiff_t phase_count;
    char *packed, *bias, *buffers;
    const void *given_bias;
    size_t buffer; /* bytes of a worker's buffers */
    int threads;
} conv_operation;

static void pack_blocks(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    (void)worker;
    const conv_operation *op = context;
    const bn_conv_kernels *k = op->r.call->kernels;
    for (ptrdiff_t i = begin; i < end; i++) {
        const phase *p = op->phases + i % op->phase_count;
        k->pack_weights(p->packed, op->r.call->weight, &p->weights, i / op->phase_count * k->block);
    }
}

/* Put an item's pixels of the residual where those of `to` will be, which are added to them. */
static void add_to(const relation *r, item it, char *to, ptrdiff_t to_image)
{
    const bn_images *residual = &r->call->epilogue.residual;
    const ptrdiff_t step = to_image * r->call->kernels->itemsize;
    for (ptrdiff_t i = 0; i < it.images; i++) {
        item one = it;
        one.image += i, one.images = 1;
        copy_pixels(r, residual, one, to + i * step, 1, 0, r->to.channels);
    }
}

static void convolve_item(const conv_operation *op, item it, char *buffer)
{
    const relation *r = &op->r;
    const bn_conv_kernels *k = r->call->kernels;
    char *to_buffer = buffer + bn_whole_lines(r->batch * from_bytes(r));
    bn_grid steps = {0};
    const char *from = load_from(r, it, buffer, &steps);
    char *to = place_to(r, it, to_buffer, &steps);
    const bn_conv_epilogue *epilogue = &r->call->epilogue;
    const int adds = !r->gradient && epilogue->residual.data;
    const bn_conv_end end = {.add = adds,
                             .activation = r->gradient ? BN_NO_ACTIVATION : epilogue->activation,
                             .negative_slope = epilogue->negative_slope};
    if (adds) add_to(r, it, to, steps.y_image);
    const ptrdiff_t rows = bn_min(it.groups * r->step[BN_ROWS], r->to.rows - it.group * r->step[BN_ROWS]);
    for (ptrdiff_t i = 0; i < op->phase_count; i++) {
        const phase *p = op->phases + i;
        bn_grid grid = p->grid;
        grid.images = it.images, grid.x_image = steps.x_image, grid.y_image = steps.y_image;
        grid.rows = bn_ceil_div(bn_max(0, rows - p->at[BN_ROWS]), r->step[BN_ROWS]);
        grid.columns = bn_ceil_div(r->to.columns - p->at[BN_COLUMNS], r->step[BN_COLUMNS]);
        const ptrdiff_t first = (p->at[BN_ROWS] * r->to.columns + p->at[BN_COLUMNS]) * r->pitch;
        k->convolve(to + first * k->itemsize, from + p->first * k->itemsize, p->packed, op->bias, &grid,
                    r->to.channels, &end);
    }
    if (pools(r)) pool_item(r, it, to);
    else if (to == to_buffer) copy_to(r, it, to, 0, 0, r->to.channels);
}

static void convolve_items(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    const conv_operation *op = context;
    for (ptrdiff_t i = begin; i < end; i++)
        convolve_item(op, item_at(&op->r, i), op->buffers + worker * op->buffer);
}

static void lay_out(conv_operation *op, bn_arena *a)
{
    const relation *r = &op->r;
    const ptrdiff_t itemsize = r->call->kernels->itemsize;
    const ptrdiff_t taps = r->call->window[BN_ROWS].kernel * r->call->window[BN_COLUMNS].kernel;
    op->phases = bn_take(a, op->phase_count * sizeof(phase));
    op->packed = bn_take(a, taps * inputs_of(r) * r->pitch * itemsize);
    op->bias = bn_take(a, r->pitch * itemsize);
    op->buffers = bn_take(a, bn_min(op->threads, r->items) * op->buffer);
}

/* The taps of all phases; each tap of the kernel belongs to one phase. */
static void set_phases(conv_operation *op)
{
    const relation *r = &op->r;
    const ptrdiff_t columns = bn_min(r->step[BN_COLUMNS], r->to.columns);
    ptrdiff_t taps = 0;
    for (ptrdiff_t i = 0; i < op->phase_count; i++) {
        phase *p = op->phases + i;
        p->at[BN_ROWS] = i / columns, p->at[BN_COLUMNS] = i % columns;
        set_phase(r, p);
        p->packed = op->packed + taps * inputs_of(r) * r->pitch * r->call->kernels->itemsize;
        taps += p->taps[BN_ROWS].count * p->taps[BN_COLUMNS].count;
    }
}

static void run(conv_operation *op)
{
    const relation *r = &op->r;
    const bn_conv_kernels *k = r->call->kernels;
    set_phases(op);
    memset(op->bias, 0, r->pitch * k->itemsize);
    if (op->given_bias) memcpy(op->bias, op->given_bias, r->to.channels * k->itemsize);
    bn_parallel_for(op->phase_count * bn_ceil_div(r->to.channels, k->block), op->threads, pack_blocks, op);
    bn_parallel_for(r->items, op->threads, convolve_items, op);
}

/* For small convolutions, waking threads costs more than they save. */
static int threads_for(const bn_convolution *call)
{
    const double multiplications = (double)call->images * call->y.rows * call->y.columns *
                                   call->y.channels * (call->depthwise ? 1 : call->x.channels) *
                                   call->window[BN_ROWS].kernel * call->window[BN_COLUMNS].kernel;
    return multiplications < CONV_SERIAL_BELOW ? 1 : call->threads;
}

static int run_with_workspace(const bn_convolution *call, int gradient, const void *bias)
{
    if (call->images == 0) return 1;
    const int threads = threads_for(call);
    conv_operation op = {.threads = threads, .given_bias = bias};
    op.r = relate(call, gradient, threads > 1 ? ITEMS_PER_THREAD * threads : 1);
    op.phase_count = bn_min(op.r.step[BN_ROWS], op.r.to.rows) * bn_min(op.r.step[BN_COLUMNS], op.r.to.columns);
    op.buffer = buffer_bytes(&op.r);
    bn_arena counted = {0};
    lay_out(&op, &counted);
    char *memory = bn_memory_malloc(NULL, counted.used + BN_LINE);
    if (!memory) return 0;
    lay_out(&op, &(bn_arena){.memory = (char *)bn_whole_lines((size_t)memory)});
    run(&op);
    bn_memory_free(NULL, memory, counted.used + BN_LINE);
    return 1;
}

/* ---- the gradient of the weight ---- */

/* The items are divided into parts, and each part's sums are stored. The number of parts
   follows from the shapes alone, because the order of additions does too. Several tasks may share a part;
   each then has other output channels. */
typedef struct {
    relation r;
    phase phase;
    ptrdiff_t parts, shares; /* tasks: parts * shares */
    bn_range *column_pixels; /* for each column of taps; row_pixels for each worker and row of taps */
    bn_range *row_pixels;
    char *sums, *bias_sums, *buffers;
    void *dweight, *dbias;   /* dbias may be NULL */
    size_t buffer, part, bias_part; /* bytes */
    int threads;
} dweight_operation;

/* The rows of the item for which the pixels of each row of taps are inside of the image. */
static void set_row_pixels(const dweight_operation *op, item it, bn_range *row_pixels)
{
    const axis_taps *t = &op->phase.taps[BN_ROWS];
    for (ptrdiff_t tap = 0; tap < t->count; tap++) {
        const bn_range g = groups_inside(&op->r, BN_ROWS, t, tap, it.group + it.groups);
        row_pixels[tap] = (bn_range){bn_max(g.begin - it.group, 0), g.end - it.group};
    }
}

static void add_item(const dweight_operation *op, item it, ptrdiff_t part, ptrdiff_t channel,
                     ptrdiff_t channels, int worker)
{
    const relation *r = &op->r;
    const bn_conv_kernels *k = r->call->kernels;
    bn_range *row_pixels = op->row_pixels + worker * op->phase.taps[BN_ROWS].count;
    char *buffer = op->buffers + worker * op->buffer;
    char *dy_buffer = buffer + bn_whole_lines(r->batch * from_bytes(r));
    bn_grid grid = op->phase.grid;
    grid.images = it.images, grid.rows = it.groups, grid.columns = r->to.columns;
    grid.row_pixels = row_pixels, grid.column_pixels = op->column_pixels;
    set_row_pixels(op, it, row_pixels);
    const char *x = load_from(r, it, buffer, &grid) + op->phase.first * k->itemsize;
    char *dy = place_to(r, it, dy_buffer, &grid);
    if (dy == dy_buffer) copy_to(r, it, dy, 1, channel, channels);
    k->add_dweight(op->sums + part * op->part, x, dy, &grid, channel, channel + channels, r->pitch);
    if (op->dbias) k->add_dbias(op->bias_sums + part * op->bias_part, dy, &grid, channel, channel + channels);
}

static void add_parts(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    const dweight_operation *op = context;
    const relation *r = &op->r;
    const bn_conv_kernels *k = r->call->kernels;
    const ptrdiff_t blocks = bn_ceil_div(r->to.channels, k->block);
    memset(op->buffers + worker * op->buffer, 0, op->buffer); /* beyond the last channel of dy, too */
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t part = task / op->shares, share = task % op->shares;
        const ptrdiff_t channel = share * blocks / op->shares * k->block;
        const ptrdiff_t last = bn_min((share + 1) * blocks / op->shares * k->block, r->to.channels);
        for (ptrdiff_t i = part * r->items / op->parts; i < (part + 1) * r->items / op->parts; i++)
            add_item(op, item_at(r, i), part, channel, last - channel, worker);
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
    const relation *r = &op->r;
    for (ptrdiff_t i = begin; i < end; i++)
        r->call->kernels->sum_dweights(op->dweight, &op->phase.weights, op->sums, op->parts, r->pitch, i);
}

static void sum_bias_parts(const dweight_operation *op)
{
    const relation *r = &op->r;
    const bn_weights bias = {
        .tap_rows = 1, .tap_columns = 1, .inputs = 1, .outputs = r->to.channels, .output_step = 1};
    r->call->kernels->sum_dweights(op->dbias, &bias, op->bias_sums, op->parts, r->pitch, 0);
}

static void lay_out_dweight(dweight_operation *op, bn_arena *a)
{
    const axis_taps *taps = op->phase.taps;
    op->column_pixels = bn_take(a, taps[BN_COLUMNS].count * sizeof(bn_range));
    op->row_pixels = bn_take(a, op->threads * taps[BN_ROWS].count * sizeof(bn_range));
    op->sums = bn_take(a, op->parts * op->part);
    op->bias_sums = bn_take(a, op->parts * op->bias_part);
    op->buffers = bn_take(a, bn_min(op->threads, op->parts * op->shares) * op->buffer);
}

static void run_dweight(dweight_operation *op)
{
    const bn_weights *w = &op->phase.weights;
    const axis_taps *columns = &op->phase.taps[BN_COLUMNS];
    for (ptrdiff_t tap = 0; tap < columns->count; tap++)
        op->column_pixels[tap] = groups_inside(&op->r, BN_COLUMNS, columns, tap, op->r.to.columns);
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

static int convolve_dweight(const bn_convolution *call, void *dbias)
{
    dweight_operation op = {.threads = threads_for(call), .dweight = call->weight, .dbias = dbias};
    const relation *r = &op.r;
    const ptrdiff_t taps = call->window[BN_ROWS].kernel * call->window[BN_COLUMNS].kernel;
    const ptrdiff_t tasks = op.threads > 1 ? ITEMS_PER_THREAD * op.threads : 1;
    op.bias_part = vector_channels(call, call->y.channels) * call->kernels->itemsize;
    op.part = taps * (call->depthwise ? 1 : call->x.channels) * op.bias_part;
    const ptrdiff_t most_parts = bn_max(1, bn_min(PARTS, data_bytes(call) / 2 / (ptrdiff_t)op.part));
    op.r = relate(call, 0, most_parts);
    op.parts = bn_max(1, bn_min(most_parts, r->items));
    op.shares = bn_min(bn_ceil_div(tasks, op.parts), bn_ceil_div(r->to.channels, call->kernels->block));
    op.buffer = buffer_bytes(r);
    set_phase(r, &op.phase);
    bn_arena counted = {0};
    lay_out_dweight(&op, &counted);
    char *memory = bn_memory_malloc(NULL, counted.used + BN_LINE);
    if (!memory) return 0;
    lay_out_dweight(&op, &(bn_arena){.memory = (char *)bn_whole_lines((size_t)memory)});
    run_dweight(&op);
    bn_memory_free(NULL, memory, counted.used + BN_LINE);
    return 1;
}

/* ---- groups ---- */

/* Whether all groups are computed at once, because each has one channel of x and one of y. */
static int is_depthwise(const bn_convolution *call)
{
    return call->groups > 1 && call->x.channels == call->groups && call->y.channels == call->groups;
}

static bn_convolution group_of(const bn_convolution *call, ptrdiff_t group)
{
    bn_convolution one = *call;
    const ptrdiff_t itemsize = call->kernels->itemsize;
    const ptrdiff_t taps = call->window[BN_ROWS].kernel * call->window[BN_COLUMNS].kernel;
    one.x.channels /= call->groups, one.y.channels /= call->groups;
    one.x.data += group * one.x.channels * call->x.channel * itemsize;
    one.y.data += group * one.y.channels * call->y.channel * itemsize;
    one.weight = (char *)call->weight + group * one.y.channels * one.x.channels * taps * itemsize;
    return one;
}

/* Convolve one group. `bias` has the values of this group, or receives their gradients, or is NULL. */
typedef int (*group_body)(const bn_convolution *one, void *bias);

static int for_each_group(const bn_convolution *call, group_body body, void *bias)
{
    if (is_depthwise(call)) {
        bn_convolution all = *call;
        all.depthwise = 1;
        return body(&all, bias);
    }
    const ptrdiff_t bias_bytes = call->y.channels / call->groups * call->kernels->itemsize;
    int found = 1;
    for (ptrdiff_t g = 0; g < call->groups && found; g++) {
        const bn_convolution one = group_of(call, g);
        found = body(&one, bias ? (char *)bias + g * bias_bytes : NULL);
    }
    return found;
}

static int convolve(const bn_convolution *one, void *bias) { return run_with_workspace(one, 0, bias); }

static int convolve_dx(const bn_convolution *one, void *bias)
{
    (void)bias;
    return run_with_workspace(one, 1, NULL);
}

int bn_convolve(const bn_convolution *call, const void *bias)
{
    return for_each_group(call, convolve, (void *)bias);
}

int bn_convolve_dx(const bn_convolution *call)
{
    return for_each_group(call, convolve_dx, NULL);
}

int bn_convolve_dweight(const bn_convolution *call, void *dbias)
{
    return for_each_group(call, convolve_dweight, dbias);
}
