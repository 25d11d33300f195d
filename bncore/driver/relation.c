#include "relation.h"

#include <string.h>

#include "arena.h"
#include "integers.h"

enum { CONV_SERIAL_BELOW = 1 << 20 }; /* multiplications */

/* ---- which pixels are computed from which ---- */

static ptrdiff_t floor_div(ptrdiff_t a, ptrdiff_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

static void relate_axis(bn_relation *r, int axis, ptrdiff_t size)
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

ptrdiff_t bn_inputs_of(const bn_relation *r) { return r->call->depthwise ? 1 : r->from.channels; }

static ptrdiff_t from_rows(const bn_relation *r, ptrdiff_t groups)
{
    if (r->winograd) groups = bn_ceil_div(groups, 2) * 2; /* whole tiles */
    return (groups - 1) * r->advance[BN_ROWS] + r->reach[BN_ROWS];
}

size_t bn_from_bytes(const bn_relation *r)
{
    return from_rows(r, r->band) * r->width * r->from_pitch * r->call->kernels->itemsize;
}

size_t bn_to_bytes(const bn_relation *r)
{
    const ptrdiff_t rows = bn_min(r->band * r->step[BN_ROWS], r->to.rows);
    return rows * r->to.columns * r->pitch * r->call->kernels->itemsize;
}

int bn_pools_item(const bn_relation *r) { return !r->gradient && r->call->epilogue.pooling.kernels != NULL; }

/* Items whose pixels stay in a core's cache, and at least `wanted` in all, if there are so many. No window
   of a pooling is in two bands. */
static void cut(bn_relation *r, ptrdiff_t wanted)
{
    const ptrdiff_t groups = r->groups[BN_ROWS], images = bn_max(1, r->call->images);
    const ptrdiff_t window = bn_pools_item(r) ? r->call->epilogue.pooling.window[BN_ROWS].kernel : 1;
    const ptrdiff_t unit = r->winograd && window % 2 ? 2 * window : window;
    r->band = 1;
    const ptrdiff_t fit = bn_max(1, BN_WORK_BYTES / (ptrdiff_t)(bn_from_bytes(r) + bn_to_bytes(r)));
    const ptrdiff_t most = bn_max(1, groups / bn_ceil_div(wanted, images));
    r->bands = bn_ceil_div(groups, bn_min(fit, most));
    r->band = bn_ceil_div(bn_ceil_div(groups, r->bands), unit) * unit;
    r->bands = bn_ceil_div(groups, r->band);
    r->batch = 1;
    if (r->bands == 1) {
        const ptrdiff_t images_fit = BN_WORK_BYTES / (ptrdiff_t)(bn_from_bytes(r) + bn_to_bytes(r));
        r->batch = bn_max(1, bn_min(images_fit, images / wanted));
    }
    r->items = bn_ceil_div(r->call->images, r->batch) * r->bands;
}

ptrdiff_t bn_vector_channels(const bn_convolution *call, ptrdiff_t channels)
{
    return bn_ceil_div(channels, call->kernels->lanes) * call->kernels->lanes;
}

static int suits_winograd(const bn_relation *r, ptrdiff_t channels)
{
    const bn_convolution *call = r->call;
    for (int axis = 0; axis < 2; axis++) {
        const bn_window w = call->window[axis];
        if (w.kernel != 3 || w.stride != 1 || w.dilation != 1 || r->groups[axis] < 2) return 0;
    }
    return !call->depthwise && bn_min(r->from.channels, r->to.channels) >= channels;
}

bn_relation bn_relate(const bn_convolution *call, int gradient, ptrdiff_t wanted, ptrdiff_t winograd)
{
    bn_relation r = {.call = call, .gradient = gradient};
    r.from = gradient ? call->y : call->x;
    r.to = gradient ? call->x : call->y;
    relate_axis(&r, BN_ROWS, r.to.rows);
    relate_axis(&r, BN_COLUMNS, r.to.columns);
    r.winograd = winograd > 0 && suits_winograd(&r, winograd);
    const ptrdiff_t columns = r.groups[BN_COLUMNS] + (r.winograd ? r.groups[BN_COLUMNS] % 2 : 0);
    r.width = (columns - 1) * r.advance[BN_COLUMNS] + r.reach[BN_COLUMNS];
    r.from_pitch = call->depthwise ? bn_vector_channels(call, r.from.channels) : r.from.channels;
    r.pitch = bn_vector_channels(call, r.to.channels);
    cut(&r, wanted);
    return r;
}

/* ---- the taps of a phase ---- */

static bn_axis_taps find_taps(const bn_relation *r, int axis, ptrdiff_t at)
{
    const bn_window w = r->call->window[axis];
    bn_axis_taps found = {.tap_step = 1, .place_step = 1};
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

void bn_set_phase(const bn_relation *r, bn_phase *p)
{
    const bn_window *window = r->call->window;
    const ptrdiff_t pitch = r->from_pitch, inputs = bn_inputs_of(r);
    const bn_axis_taps rows = p->taps[BN_ROWS] = find_taps(r, BN_ROWS, p->at[BN_ROWS]);
    const bn_axis_taps columns = p->taps[BN_COLUMNS] = find_taps(r, BN_COLUMNS, p->at[BN_COLUMNS]);
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

bn_range bn_groups_inside(const bn_relation *r, int axis, const bn_axis_taps *t, ptrdiff_t tap, ptrdiff_t end)
{
    const ptrdiff_t size = axis == BN_ROWS ? r->from.rows : r->from.columns;
    const ptrdiff_t first = r->first[axis] + t->place + tap * t->place_step;
    const ptrdiff_t before = first < 0 ? bn_ceil_div(-first, r->advance[axis]) : 0;
    const ptrdiff_t until = first < size ? bn_ceil_div(size - first, r->advance[axis]) : 0;
    return (bn_range){bn_min(before, end), bn_min(until, end)};
}

/* ---- buffers ---- */

static char *pixel(const bn_relation *r, const bn_images *images, ptrdiff_t image, ptrdiff_t channel,
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

bn_item bn_item_at(const bn_relation *r, ptrdiff_t i)
{
    bn_item it = {.image = i / r->bands * r->batch, .group = i % r->bands * r->band};
    it.images = bn_min(r->batch, r->call->images - it.image);
    it.groups = bn_min(r->band, r->groups[BN_ROWS] - it.group);
    return it;
}

/* The pixels of `from` for `groups` groups of rows, with zeros around the image. */
static void load_image(const bn_relation *r, ptrdiff_t image, ptrdiff_t group, ptrdiff_t groups, char *buffer)
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

const char *bn_load_from(const bn_relation *r, bn_item it, char *buffer, bn_grid *grid)
{
    const bn_images *from = &r->from;
    const ptrdiff_t top = it.group * r->advance[BN_ROWS] + r->first[BN_ROWS];
    grid->x_image = from->image;
    if (!r->winograd && r->first[BN_COLUMNS] == 0 && top >= 0 && top + from_rows(r, it.groups) <= from->rows &&
        like_a_buffer(from, r->width, r->from_pitch))
        return pixel(r, from, it.image, 0, top, 0);
    grid->x_image = bn_from_bytes(r) / r->call->kernels->itemsize;
    for (ptrdiff_t i = 0; i < it.images; i++)
        load_image(r, it.image + i, it.group, it.groups, buffer + i * bn_from_bytes(r));
    return buffer;
}

char *bn_place_to(const bn_relation *r, bn_item it, char *buffer, bn_grid *grid)
{
    grid->y_image = r->to.image;
    if (!bn_pools_item(r) && like_a_buffer(&r->to, r->to.columns, r->pitch))
        return pixel(r, &r->to, it.image, 0, it.group * r->step[BN_ROWS], 0);
    grid->y_image = bn_to_bytes(r) / r->call->kernels->itemsize;
    return buffer;
}

void bn_copy_item(const bn_relation *r, const bn_images *images, bn_item it, char *buffer, int load,
                  ptrdiff_t channel, ptrdiff_t channels)
{
    const bn_conv_kernels *k = r->call->kernels;
    const bn_pixel_steps inside = {r->pitch, 1}, outside = {images->column, images->channel};
    const ptrdiff_t begin = it.group * r->step[BN_ROWS];
    const ptrdiff_t rows = bn_min(it.groups * r->step[BN_ROWS], r->to.rows - begin);
    for (ptrdiff_t i = 0; i < it.images; i++)
        for (ptrdiff_t row = 0; row < rows; row++) {
            char *place = pixel(r, images, it.image + i, channel, begin + row, 0);
            char *at = buffer + i * bn_to_bytes(r) + (row * r->to.columns * r->pitch + channel) * k->itemsize;
            if (load) k->copy_pixels(at, inside, place, outside, r->to.columns, channels);
            else k->copy_pixels(place, outside, at, inside, r->to.columns, channels);
        }
}

void bn_copy_to(const bn_relation *r, bn_item it, char *buffer, int load, ptrdiff_t channel,
                ptrdiff_t channels)
{
    bn_copy_item(r, &r->to, it, buffer, load, channel, channels);
}

size_t bn_buffer_bytes(const bn_relation *r)
{
    return bn_whole_lines(r->batch * bn_from_bytes(r)) + bn_whole_lines(r->batch * bn_to_bytes(r));
}

int bn_conv_threads(const bn_convolution *call)
{
    const double multiplications = (double)call->images * call->y.rows * call->y.columns *
                                   call->y.channels * (call->depthwise ? 1 : call->x.channels) *
                                   call->window[BN_ROWS].kernel * call->window[BN_COLUMNS].kernel;
    return multiplications < CONV_SERIAL_BELOW ? 1 : call->threads;
}
