#include "convolution.h"

#include <string.h>

#include "arena.h"
#include "conv_dweight.h"
#include "integers.h"
#include "memory.h"
#include "parallel.h"
#include "relation.h"
#include "winograd.h"

enum { WINOGRAD_CHANNELS = 16 }; /* of x and of y: for fewer, transforming takes too long */

/* ---- y and dx ---- */

typedef struct {
    bn_relation r;
    bn_phase *phases;
    ptrdiff_t phase_count;
    char *packed, *bias, *buffers;
    const void *given_bias;
    size_t buffer; /* bytes of a worker's buffers */
    size_t transformed_bytes; /* of a worker, of Winograd's convolution */
    char *zeros, *transformed;
    int threads;
} conv_operation;

static void pack_blocks(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    (void)worker;
    const conv_operation *op = context;
    const bn_conv_kernels *k = op->r.call->kernels;
    for (ptrdiff_t i = begin; i < end; i++) {
        const bn_phase *p = op->phases + i % op->phase_count;
        if (op->r.winograd)
            k->winograd_weights(p->packed, bn_winograd_place(&op->r), op->r.call->weight, &p->weights, i * k->block);
        else k->pack_weights(p->packed, op->r.call->weight, &p->weights, i / op->phase_count * k->block);
    }
}

/* Pool an item's pixels, which are in the buffer. */
static void pool_item(const bn_relation *r, bn_item it, char *buffer)
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
                         .image = bn_to_bytes(r) / itemsize,
                         .channel = 1,
                         .row = r->to.columns * r->pitch,
                         .column = r->pitch};
    call.y.data += (it.image * y->image + row * y->row) * itemsize;
    if (positions->data) call.positions.data += it.image * positions->image + row * positions->row;
    call.y.rows = rows / call.window[BN_ROWS].kernel;
    if (call.y.rows > 0) bn_pool_max(&call);
}

/* Put an item's pixels of the residual where those of `to` will be, which are added to them. */
static void add_to(const bn_relation *r, bn_item it, char *to, ptrdiff_t to_image)
{
    const bn_images *residual = &r->call->epilogue.residual;
    const ptrdiff_t step = to_image * r->call->kernels->itemsize;
    for (ptrdiff_t i = 0; i < it.images; i++) {
        bn_item one = it;
        one.image += i, one.images = 1;
        bn_copy_item(r, residual, one, to + i * step, 1, 0, r->to.channels);
    }
}

static void convolve_item(const conv_operation *op, bn_item it, char *buffer, char *transformed)
{
    const bn_relation *r = &op->r;
    const bn_conv_kernels *k = r->call->kernels;
    char *to_buffer = buffer + bn_whole_lines(r->batch * bn_from_bytes(r));
    bn_grid steps = {0};
    const char *from = bn_load_from(r, it, buffer, &steps);
    char *to = bn_place_to(r, it, to_buffer, &steps);
    const bn_conv_epilogue *epilogue = &r->call->epilogue;
    const int adds = !r->gradient && epilogue->residual.data;
    const bn_conv_end end = {.add = adds,
                             .activation = r->gradient ? BN_NO_ACTIVATION : epilogue->activation,
                             .negative_slope = epilogue->negative_slope};
    if (adds) add_to(r, it, to, steps.y_image);
    const ptrdiff_t rows = bn_min(it.groups * r->step[BN_ROWS], r->to.rows - it.group * r->step[BN_ROWS]);
    for (ptrdiff_t i = 0; i < op->phase_count; i++) {
        const bn_phase *p = op->phases + i;
        bn_grid grid = p->grid;
        grid.images = it.images, grid.x_image = steps.x_image, grid.y_image = steps.y_image;
        grid.rows = bn_ceil_div(bn_max(0, rows - p->at[BN_ROWS]), r->step[BN_ROWS]);
        grid.columns = bn_ceil_div(r->to.columns - p->at[BN_COLUMNS], r->step[BN_COLUMNS]);
        if (r->winograd) {
            const bn_winograd_weights weights = {p->packed, op->bias, op->zeros};
            bn_winograd_convolve(r, &grid, from + p->first * k->itemsize, to, weights, &end, transformed);
            continue;
        }
        const ptrdiff_t first = (p->at[BN_ROWS] * r->to.columns + p->at[BN_COLUMNS]) * r->pitch;
        k->convolve(to + first * k->itemsize, from + p->first * k->itemsize, p->packed, op->bias, &grid,
                    r->to.channels, &end);
    }
    if (bn_pools_item(r)) pool_item(r, it, to);
    else if (to == to_buffer) bn_copy_to(r, it, to, 0, 0, r->to.channels);
}

static void convolve_items(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
{
    const conv_operation *op = context;
    for (ptrdiff_t i = begin; i < end; i++)
        convolve_item(op, bn_item_at(&op->r, i), op->buffers + worker * op->buffer,
                      op->transformed + worker * op->transformed_bytes);
}

static size_t packed_bytes(const bn_relation *r)
{
    const ptrdiff_t taps = r->call->window[BN_ROWS].kernel * r->call->window[BN_COLUMNS].kernel;
    const ptrdiff_t places = r->winograd ? BN_PLACES : taps;
    return bn_whole_lines(places * bn_inputs_of(r) * r->pitch * r->call->kernels->itemsize);
}

static void lay_out(conv_operation *op, bn_arena *a)
{
    const bn_relation *r = &op->r;
    const ptrdiff_t itemsize = r->call->kernels->itemsize;
    op->phases = bn_take(a, op->phase_count * sizeof(bn_phase));
    const ptrdiff_t workers = bn_min(op->threads, r->items);
    op->packed = r->call->packed ? (char *)r->call->packed : bn_take(a, packed_bytes(r));
    op->bias = bn_take(a, r->pitch * itemsize);
    op->zeros = bn_take(a, r->winograd ? r->pitch * itemsize : 0);
    op->buffers = bn_take(a, workers * op->buffer);
    op->transformed = bn_take(a, workers * op->transformed_bytes);
}

/* The taps of all phases; each tap of the kernel belongs to one phase. */
static void set_phases(conv_operation *op)
{
    const bn_relation *r = &op->r;
    const ptrdiff_t columns = bn_min(r->step[BN_COLUMNS], r->to.columns);
    ptrdiff_t taps = 0;
    for (ptrdiff_t i = 0; i < op->phase_count; i++) {
        bn_phase *p = op->phases + i;
        p->at[BN_ROWS] = i / columns, p->at[BN_COLUMNS] = i % columns;
        bn_set_phase(r, p);
        p->packed = op->packed + taps * bn_inputs_of(r) * r->pitch * r->call->kernels->itemsize;
        taps += p->taps[BN_ROWS].count * p->taps[BN_COLUMNS].count;
    }
}

static void pack(const conv_operation *op)
{
    const bn_relation *r = &op->r;
    const ptrdiff_t blocks = bn_ceil_div(r->to.channels, r->call->kernels->block);
    bn_parallel_for(op->phase_count * blocks, op->threads, pack_blocks, op);
}

static void run(conv_operation *op)
{
    const bn_relation *r = &op->r;
    const bn_conv_kernels *k = r->call->kernels;
    set_phases(op);
    memset(op->bias, 0, r->pitch * k->itemsize);
    if (r->winograd) memset(op->zeros, 0, r->pitch * k->itemsize);
    if (op->given_bias) memcpy(op->bias, op->given_bias, r->to.channels * k->itemsize);
    if (!r->call->packed) pack(op);
    bn_parallel_for(r->items, op->threads, convolve_items, op);
}

static conv_operation operation_of(const bn_convolution *call, int gradient)
{
    const int threads = bn_conv_threads(call);
    conv_operation op = {.threads = threads};
    op.r = bn_relate(call, gradient, threads > 1 ? BN_ITEMS_PER_THREAD * threads : 1,
                     call->winograd ? WINOGRAD_CHANNELS : 0);
    op.phase_count = bn_min(op.r.step[BN_ROWS], op.r.to.rows) * bn_min(op.r.step[BN_COLUMNS], op.r.to.columns);
    op.buffer = bn_buffer_bytes(&op.r);
    op.transformed_bytes = op.r.winograd ? bn_whole_lines(bn_winograd_bytes(&op.r)) : 0;
    return op;
}

static int run_with_workspace(const bn_convolution *call, int gradient, const void *bias)
{
    if (call->images == 0) return 1;
    conv_operation op = operation_of(call, gradient);
    op.given_bias = bias;
    bn_arena counted = {0};
    lay_out(&op, &counted);
    char *memory = bn_memory_malloc(NULL, counted.used + BN_LINE);
    if (!memory) return 0;
    lay_out(&op, &(bn_arena){.memory = (char *)bn_whole_lines((size_t)memory)});
    run(&op);
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

/* The convolution of each channel by itself, if it is depthwise; else that of the first group. */
static bn_convolution first_of(const bn_convolution *call)
{
    bn_convolution one = is_depthwise(call) ? *call : group_of(call, 0);
    one.depthwise = is_depthwise(call);
    return one;
}

static size_t packed_bytes_of_group(const bn_convolution *call)
{
    const bn_convolution one = first_of(call);
    const conv_operation op = operation_of(&one, 0);
    return packed_bytes(&op.r);
}

/* Convolve one group. `bias` has the values of this group, or receives their gradients, or is NULL. */
typedef int (*group_body)(const bn_convolution *one, void *bias);

/* The bias has a value for each of `channels`, those of y or of x. */
static int for_each_group(const bn_convolution *call, group_body body, void *bias, ptrdiff_t channels)
{
    if (is_depthwise(call)) {
        const bn_convolution all = first_of(call);
        return body(&all, bias);
    }
    const ptrdiff_t bias_bytes = channels / call->groups * call->kernels->itemsize;
    const size_t packed = call->packed ? packed_bytes_of_group(call) : 0;
    int found = 1;
    for (ptrdiff_t g = 0; g < call->groups && found; g++) {
        bn_convolution one = group_of(call, g);
        if (packed > 0) one.packed = (const char *)call->packed + g * packed;
        found = body(&one, bias ? (char *)bias + g * bias_bytes : NULL);
    }
    return found;
}

static int convolve(const bn_convolution *one, void *bias) { return run_with_workspace(one, 0, bias); }

static int convolve_dx(const bn_convolution *one, void *bias)
{
    return run_with_workspace(one, 1, bias);
}

int bn_convolve(const bn_convolution *call, const void *bias)
{
    return for_each_group(call, convolve, (void *)bias, call->y.channels);
}

static int pack_group(const bn_convolution *one, void *bias)
{
    (void)bias;
    bn_phase phase; /* all pixels of y are computed with the same taps */
    conv_operation op = operation_of(one, 0);
    op.phases = &phase, op.packed = (char *)one->packed;
    set_phases(&op);
    pack(&op);
    return 1;
}

size_t bn_packed_bytes(const bn_convolution *call)
{
    return packed_bytes_of_group(call) * (is_depthwise(call) ? 1 : call->groups);
}

void bn_pack_weight(const bn_convolution *call, void *packed)
{
    bn_convolution given = *call;
    given.packed = packed;
    for_each_group(&given, pack_group, NULL, call->y.channels);
}

int bn_convolve_dx(const bn_convolution *call, const void *bias)
{
    return for_each_group(call, convolve_dx, (void *)bias, call->x.channels);
}

int bn_convolve_dweight(const bn_convolution *call, void *dbias)
{
    return for_each_group(call, bn_convolve_dweight_of, dbias, call->y.channels);
}
