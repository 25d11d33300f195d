#include "winograd.h"

#include "integers.h"

enum {
    FEWEST = 16, /* tiles at a time: for fewer, loading the weights takes too long */
    RUNS = 64,   /* of tiles side by side that are transformed together, at most */
};

ptrdiff_t bn_winograd_place(const bn_relation *r) { return r->from.channels * r->pitch; }

/* So many tiles at a time that they stay in a core's cache with their products. */
static ptrdiff_t tiles_for(const bn_relation *r)
{
    const ptrdiff_t bytes = BN_PLACES * (r->from.channels + r->pitch) * r->call->kernels->itemsize;
    return bn_max(FEWEST, BN_WORK_BYTES / bytes / 8 * 8);
}

size_t bn_winograd_bytes(const bn_relation *r)
{
    const ptrdiff_t values = BN_PLACES * tiles_for(r) * (r->from.channels + r->pitch);
    return values * r->call->kernels->itemsize;
}

/* Tiles side by side: their first pixel of `from` and of `to`, and how many outputs they have. The last one
   may have one column, and all of them one row. */
typedef struct {
    const char *from;
    char *to;
    ptrdiff_t tiles, rows, columns;
} tile_run;

typedef struct pass pass;

/* What is done with the tiles of some runs. */
typedef void (*tiles_body)(const pass *p, const tile_run *runs, ptrdiff_t count);

/* One pass over the tiles of a grid. What is transformed is in two parts of the memory. */
struct pass {
    const bn_relation *r;
    const bn_conv_kernels *k;
    const bn_grid *g;
    ptrdiff_t tiles;              /* at a time, at most */
    ptrdiff_t from_place, to_place; /* values of a place of what is transformed */
    char *from, *to;
    tiles_body body;

    bn_winograd_weights weights;  /* forward */
    const bn_conv_end *end;
    char *sums;                   /* of the weight's gradient, and their output channels */
    ptrdiff_t first_channel, last_channel;
};

static pass pass_over(const bn_relation *r, const bn_grid *g, char *memory, tiles_body body)
{
    const ptrdiff_t tiles = tiles_for(r), from_place = tiles * r->from.channels;
    return (pass){.r = r,
                  .k = r->call->kernels,
                  .g = g,
                  .tiles = tiles,
                  .from_place = from_place,
                  .to_place = tiles * r->pitch,
                  .from = memory,
                  .to = memory + BN_PLACES * from_place * r->call->kernels->itemsize,
                  .body = body};
}

static void for_all_tiles(const pass *p, const char *from, char *to)
{
    const bn_grid *g = p->g;
    const ptrdiff_t itemsize = p->k->itemsize;
    tile_run runs[RUNS];
    ptrdiff_t count = 0, tiles = 0;
    for (ptrdiff_t image = 0; image < g->images; image++)
        for (ptrdiff_t row = 0; row < g->rows; row += 2)
            for (ptrdiff_t column = 0; column < g->columns;) {
                const ptrdiff_t left = bn_ceil_div(g->columns - column, 2), n = bn_min(left, p->tiles - tiles);
                const ptrdiff_t x = image * g->x_image + row * g->x_row + column * g->x_column;
                const ptrdiff_t y = image * g->y_image + row * g->y_row + column * g->y_column;
                runs[count++] = (tile_run){.from = from + x * itemsize,
                                           .to = to + y * itemsize,
                                           .tiles = n,
                                           .rows = bn_min(2, g->rows - row),
                                           .columns = bn_min(2 * n, g->columns - column)};
                tiles += n, column += 2 * n;
                if (tiles < p->tiles && count < RUNS) continue;
                p->body(p, runs, count);
                count = tiles = 0;
            }
    if (count > 0) p->body(p, runs, count);
}

/* Transform the pixels of `from`. Returns how many tiles there are. */
static ptrdiff_t transform_input(const pass *p, const tile_run *runs, ptrdiff_t count)
{
    const ptrdiff_t channels = p->r->from.channels;
    ptrdiff_t tiles = 0;
    for (ptrdiff_t i = 0; i < count; tiles += runs[i++].tiles)
        p->k->winograd_input(p->from + tiles * channels * p->k->itemsize, p->from_place, runs[i].from,
                             p->g->x_row, p->g->x_column, runs[i].tiles, channels);
    return tiles;
}

/* The tiles of a place as the pixels of a convolution of 1 x 1. */
static bn_grid grid_of(const pass *p, ptrdiff_t tiles)
{
    const ptrdiff_t channels = p->r->from.channels;
    return (bn_grid){.images = 1,
                     .rows = 1,
                     .columns = tiles,
                     .x_column = channels,
                     .y_column = p->r->pitch,
                     .tap_rows = 1,
                     .tap_columns = 1,
                     .inputs = channels,
                     .x_tap_column = channels};
}

static void convolve_tiles(const pass *p, const tile_run *runs, ptrdiff_t count)
{
    const bn_conv_kernels *k = p->k;
    const bn_conv_end products = {0};
    const ptrdiff_t itemsize = k->itemsize, place = bn_winograd_place(p->r);
    const bn_grid grid = grid_of(p, transform_input(p, runs, count));
    for (ptrdiff_t i = 0; i < BN_PLACES; i++)
        k->convolve(p->to + i * p->to_place * itemsize, p->from + i * p->from_place * itemsize,
                    p->weights.packed + i * place * itemsize, p->weights.zeros, &grid, p->r->to.channels,
                    &products);
    const char *from = p->to;
    for (ptrdiff_t i = 0; i < count; from += runs[i++].tiles * p->r->pitch * itemsize)
        k->winograd_output(runs[i].to, p->g->y_row, p->g->y_column, from, p->to_place, p->weights.bias,
                           runs[i].tiles, runs[i].rows, runs[i].columns, p->r->pitch, p->end);
}

void bn_winograd_convolve(const bn_relation *r, const bn_grid *g, const char *from, char *to,
                          bn_winograd_weights weights, const bn_conv_end *end, char *memory)
{
    pass p = pass_over(r, g, memory, convolve_tiles);
    p.weights = weights, p.end = end;
    for_all_tiles(&p, from, to);
}

static void add_tiles(const pass *p, const tile_run *runs, ptrdiff_t count)
{
    const bn_conv_kernels *k = p->k;
    const ptrdiff_t itemsize = k->itemsize, place = bn_winograd_place(p->r);
    bn_grid grid = grid_of(p, transform_input(p, runs, count));
    char *to = p->to;
    for (ptrdiff_t i = 0; i < count; to += runs[i++].tiles * p->r->pitch * itemsize)
        k->winograd_dy(to, p->to_place, runs[i].to, p->g->y_row, p->g->y_column, runs[i].tiles, runs[i].rows,
                       runs[i].columns, p->r->pitch);
    const bn_range row = {0, 1}, columns = {0, grid.columns};
    grid.row_pixels = &row, grid.column_pixels = &columns;
    for (ptrdiff_t i = 0; i < BN_PLACES; i++)
        k->add_dweight(p->sums + i * place * itemsize, p->from + i * p->from_place * itemsize,
                       p->to + i * p->to_place * itemsize, &grid, p->first_channel, p->last_channel,
                       p->r->pitch);
}

void bn_winograd_add_dweight(const bn_relation *r, const bn_grid *g, const char *from, const char *dy,
                             char *sums, ptrdiff_t begin, ptrdiff_t end, char *memory)
{
    pass p = pass_over(r, g, memory, add_tiles);
    p.sums = sums, p.first_channel = begin, p.last_channel = end;
    for_all_tiles(&p, from, (char *)dy);
}
