/* Convolution of one part of an image, in a buffer with its channels last. A tile of sums stays in
   registers: CONV_PIXELS output pixels, or CONV_ROWS rows of the weight's gradient, times up to
   CONV_VECTORS vectors of output channels. One value of x is multiplied with all output channels of the
   tile. Sums are in the dtype of the data, and each is added up in one order: that of the weights for
   y and dx, that of the pixels for the gradient of the weight. At most CONV_TERMS terms are added up in a
   row; then the sum is added to those before. So what a tile reads stays in L1, and the error is smaller
   than that of one long sum. */

ALWAYS_INLINE NAME(vec) NAME(fused)(NAME(vec) a, NAME(vec) b, NAME(vec) c)
{
    return JOIN2(fused, real)(a, b, c);
}

ALWAYS_INLINE void NAME(store)(real *to, NAME(vec) v) { *(NAME(vec_unaligned) *)to = v; }

/* Output channels of a whole tile. */
enum { NAME(BLOCK) = CONV_VECTORS * NAME(VEC) };

/* Vectors of the tile that begins at output channel o. */
ALWAYS_INLINE ptrdiff_t NAME(vectors_at)(ptrdiff_t o, ptrdiff_t outputs)
{
    return bn_min(CONV_VECTORS, bn_ceil_div(outputs - o, NAME(VEC)));
}

/* Value i of a run, multiplied with vector v of the output channels: one input channel's for all of them,
   or, depthwise, each channel's own. */
ALWAYS_INLINE NAME(vec) NAME(factor)(const int depthwise, const real *run, ptrdiff_t i, int v)
{
    return depthwise ? NAME(load)(run + i + v * NAME(VEC)) : NAME(splat)(run[i]);
}

/* ---- y, and dx ---- */

ALWAYS_INLINE NAME(vec) NAME(ended)(NAME(vec) z, const bn_conv_end *end)
{
    return NAME(activated)(z, end->activation, (real)end->negative_slope);
}

/* Store the tile's sums, or add them to what was stored for the terms before. Several pointers of a tile
   may be the same, so all loads come first. `end` is NULL for all terms but the last. */
ALWAYS_INLINE void NAME(conv_store)(const int vectors, NAME(vec) sum[][CONV_VECTORS], real *const *y,
                                    int add, const bn_conv_end *end)
{
    if (add) {
        UNROLL
        for (int p = 0; p < CONV_PIXELS; p++)
            for (int v = 0; v < vectors; v++) sum[p][v] += NAME(load)(y[p] + v * NAME(VEC));
    }
    if (end && end->activation) {
        UNROLL
        for (int p = 0; p < CONV_PIXELS; p++)
            for (int v = 0; v < vectors; v++) sum[p][v] = NAME(ended)(sum[p][v], end);
    }
    UNROLL
    for (int p = 0; p < CONV_PIXELS; p++)
        for (int v = 0; v < vectors; v++) NAME(store)(y[p] + v * NAME(VEC), sum[p][v]);
}

/* The terms that are added up before the sums are stored: of rows of runs, some values of each run, which
   lie side by side in x. The steps go from a run to the one below and beside it. */
typedef struct {
    ptrdiff_t rows, columns, values;
    ptrdiff_t x_row, x_column, weight_row, weight_column;
} NAME(terms);

ALWAYS_INLINE void NAME(conv_tile)(const int vectors, const int depthwise, const NAME(terms) *t,
                                   const real *const *x, const real *weight, const real *bias,
                                   real *const *y, int add, const bn_conv_end *end)
{
    NAME(vec) sum[CONV_PIXELS][CONV_VECTORS];
    UNROLL
    for (int p = 0; p < CONV_PIXELS; p++)
        for (int v = 0; v < vectors; v++)
            sum[p][v] = bias ? NAME(load)(bias + v * NAME(VEC)) : (NAME(vec)){0};
    ptrdiff_t row = 0;
    for (ptrdiff_t r = 0; r < t->rows; r++, row += t->x_row, weight += t->weight_row) {
        const real *run = weight;
        ptrdiff_t begin = row;
        for (ptrdiff_t c = 0; c < t->columns; c++, begin += t->x_column, run += t->weight_column) {
            const real *w = run;
            for (ptrdiff_t i = begin; i < begin + t->values; i++, w += vectors * NAME(VEC)) {
                NAME(vec) each[CONV_VECTORS];
                UNROLL
                for (int v = 0; v < vectors; v++) each[v] = NAME(load)(w + v * NAME(VEC));
                UNROLL
                for (int p = 0; p < CONV_PIXELS; p++)
                    for (int v = 0; v < vectors; v++)
                        sum[p][v] = NAME(fused)(NAME(factor)(depthwise, x[p], i, v), each[v], sum[p][v]);
            }
        }
    }
    NAME(conv_store)(vectors, sum, y, add, end);
}

/* All pixels, tile by tile. A last tile with fewer pixels computes its last pixel repeatedly. The bias is
   NULL for all terms but the first. */
ALWAYS_INLINE void NAME(conv_pixels)(const int vectors, const int depthwise, const bn_grid *g,
                                     const NAME(terms) *given, const real *x, const real *weight,
                                     const real *bias, real *y, int add, const bn_conv_end *end)
{
    const ptrdiff_t pixels = g->images * g->rows * g->columns;
    ptrdiff_t image = 0, row = 0, column = 0;
    const NAME(terms) t = *given; /* y might be a part of it, for a compiler */
    const real *next_from = x;
    real *next_to = y;
    for (ptrdiff_t pixel = 0; pixel < pixels;) {
        const real *from[CONV_PIXELS];
        real *to[CONV_PIXELS];
        for (int p = 0; p < CONV_PIXELS; p++) {
            from[p] = next_from, to[p] = next_to;
            if (pixel == pixels || ++pixel == pixels) continue;
            if (++column < g->columns) {
                next_from += g->x_column, next_to += g->y_column;
                continue;
            }
            column = 0;
            if (++row == g->rows) row = 0, image++;
            next_from = x + image * g->x_image + row * g->x_row;
            next_to = y + image * g->y_image + row * g->y_row;
        }
        NAME(conv_tile)(vectors, depthwise, &t, from, weight, bias, to, add, end);
    }
}

/* All terms, at most CONV_TERMS at a time: their weights stay in L1 for all pixels. */
ALWAYS_INLINE void NAME(conv_terms)(const int vectors, const int depthwise, const bn_grid *g,
                                    const real *x, const real *weight, const real *bias, real *y,
                                    const bn_conv_end *end)
{
    /* Taps side by side in x are one run. */
    const int together = !depthwise && g->x_tap_column == g->inputs;
    const ptrdiff_t length = bn_max(1, together ? g->tap_columns * g->inputs : g->inputs);
    const ptrdiff_t runs = together ? bn_min(1, g->tap_columns) : g->tap_columns; /* in a row of taps */
    const ptrdiff_t rows = bn_max(1, CONV_TERMS / (length * bn_max(1, runs)));
    const ptrdiff_t columns = bn_max(1, CONV_TERMS / length), parts = bn_ceil_div(length, CONV_TERMS);
    const ptrdiff_t value = vectors * NAME(VEC);
    NAME(terms) t = {.x_row = g->x_tap_row,
                     .x_column = g->x_tap_column,
                     .weight_row = runs * length * value,
                     .weight_column = length * value};
    int add = end->add;
    for (ptrdiff_t r = 0; r < g->tap_rows; r += rows)
        for (ptrdiff_t c = 0; c < runs; c += columns)
            for (ptrdiff_t part = 0; part < parts; part++) {
                const int last = r + rows >= g->tap_rows && c + columns >= runs && part + 1 == parts;
                const ptrdiff_t begin = part * length / parts;
                t.rows = bn_min(rows, g->tap_rows - r), t.columns = bn_min(columns, runs - c);
                t.values = (part + 1) * length / parts - begin;
                NAME(conv_pixels)(vectors, depthwise, g, &t, x + r * t.x_row + c * t.x_column + begin,
                                  weight + r * t.weight_row + c * t.weight_column + begin * value, bias, y,
                                  add, last ? end : NULL);
                bias = NULL, add = 1;
            }
    if (bias) NAME(conv_pixels)(vectors, depthwise, g, &t, x, weight, bias, y, add, end); /* no taps */
}

static void NAME(convolve)(void *y, const void *x, const void *weight, const void *bias,
                           const bn_grid *g, ptrdiff_t outputs, const bn_conv_end *end)
{
    const ptrdiff_t taps = g->tap_rows * g->tap_columns * g->inputs;
    for (ptrdiff_t o = 0; o < outputs; o += NAME(BLOCK)) {
        const real *w = (const real *)weight + o * taps, *b = (const real *)bias + o;
        const real *from = (const real *)x + (g->depthwise ? o : 0);
        real *to = (real *)y + o;
#define CONV_TERMS_OF(vectors, depthwise) NAME(conv_terms)(vectors, depthwise, g, from, w, b, to, end)
        FOR_TILE(CONV_TERMS_OF, NAME(vectors_at)(o, outputs), g->depthwise);
#undef CONV_TERMS_OF
    }
}

/* ---- the gradient of the weight ---- */

/* Add the tile's sums to its rows of dweight. */
ALWAYS_INLINE void NAME(dweight_add)(const int vectors, NAME(vec) sum[][CONV_VECTORS], real *dweight,
                                     ptrdiff_t pitch, ptrdiff_t rows)
{
    UNROLL
    for (int k = 0; k < CONV_ROWS; k++)
        for (int v = 0; v < vectors && k < rows; v++) {
            real *to = dweight + k * pitch + v * NAME(VEC);
            NAME(store)(to, NAME(load)(to) + sum[k][v]);
        }
}

/* The part of a grid of pixels that a tile sums over. */
typedef struct {
    bn_range rows, columns;
} NAME(pixels);

/* x has one pointer for each row of the tile, to what the row is multiplied with at the grid's first
   pixel. */
ALWAYS_INLINE void NAME(dweight_tile)(const int vectors, const int depthwise, const bn_grid *g,
                                      const NAME(pixels) *part, const real *const *x, const real *dy,
                                      real *dweight, ptrdiff_t pitch, ptrdiff_t rows)
{
    NAME(vec) sum[CONV_ROWS][CONV_VECTORS];
    UNROLL
    for (int k = 0; k < CONV_ROWS; k++)
        for (int v = 0; v < vectors; v++) sum[k][v] = (NAME(vec)){0};
    for (ptrdiff_t image = 0; image < g->images; image++)
        for (ptrdiff_t row = part->rows.begin; row < part->rows.end; row++) {
            const ptrdiff_t place = image * g->x_image + row * g->x_row;
            const ptrdiff_t end = place + part->columns.end * g->x_column;
            const real *d = dy + image * g->y_image + row * g->y_row + part->columns.begin * g->y_column;
            for (ptrdiff_t i = place + part->columns.begin * g->x_column; i < end;
                 i += g->x_column, d += g->y_column) {
                NAME(vec) each[CONV_VECTORS];
                UNROLL
                for (int v = 0; v < vectors; v++) each[v] = NAME(load)(d + v * NAME(VEC));
                UNROLL
                for (int k = 0; k < CONV_ROWS; k++)
                    for (int v = 0; v < vectors; v++)
                        sum[k][v] = NAME(fused)(NAME(factor)(depthwise, x[k], i, v), each[v], sum[k][v]);
            }
        }
    NAME(dweight_add)(vectors, sum, dweight, pitch, rows);
}

ALWAYS_INLINE bn_range NAME(together)(bn_range a, bn_range b)
{
    return (bn_range){bn_min(a.begin, b.begin), bn_max(a.end, b.end)};
}

ALWAYS_INLINE bn_range NAME(common)(bn_range a, ptrdiff_t begin, ptrdiff_t end)
{
    return (bn_range){bn_max(a.begin, begin), bn_min(a.end, end)};
}

/* All rows, tile by tile. A last tile with fewer rows computes its last row repeatedly. A tile leaves out
   the pixels for which all of its rows would be multiplied with the zeros around the image. */
ALWAYS_INLINE void NAME(dweight_rows)(const int vectors, const int depthwise, const bn_grid *g,
                                      const real *x, const real *dy, real *dweight, ptrdiff_t pitch)
{
    const ptrdiff_t rows = g->tap_rows * g->tap_columns * g->inputs;
    ptrdiff_t tap_row = 0, tap_column = 0, input = 0;
    for (ptrdiff_t row = 0; row < rows;) {
        const real *from[CONV_ROWS];
        const ptrdiff_t first = row;
        NAME(pixels) part = {.rows = g->row_pixels[tap_row], .columns = g->column_pixels[tap_column]};
        for (int k = 0; k < CONV_ROWS; k++) {
            from[k] = x + tap_row * g->x_tap_row + tap_column * g->x_tap_column + input;
            part.rows = NAME(together)(part.rows, g->row_pixels[tap_row]);
            part.columns = NAME(together)(part.columns, g->column_pixels[tap_column]);
            if (row == rows || ++row == rows || ++input < g->inputs) continue;
            input = 0;
            if (++tap_column == g->tap_columns) tap_column = 0, tap_row++;
        }
        part.rows = NAME(common)(part.rows, g->row, g->row + g->rows);
        part.columns = NAME(common)(part.columns, g->column, g->column + g->columns);
        part.rows = (bn_range){part.rows.begin - g->row, part.rows.end - g->row};
        part.columns = (bn_range){part.columns.begin - g->column, part.columns.end - g->column};
        if (part.rows.begin < part.rows.end && part.columns.begin < part.columns.end)
            NAME(dweight_tile)(vectors, depthwise, g, &part, from, dy, dweight + first * pitch, pitch,
                               row - first);
    }
}

/* The pixels of a grid, as many as are added up at a time. */
static void NAME(add_dweight_of)(real *dweight, const real *x, const real *dy, const bn_grid *g,
                                 ptrdiff_t begin, ptrdiff_t end, ptrdiff_t pitch)
{
    for (ptrdiff_t o = begin; o < end; o += NAME(BLOCK)) {
        real *to = dweight + o;
        const real *from = x + (g->depthwise ? o : 0), *d = dy + o;
#define DWEIGHT_ROWS_OF(vectors, depthwise) NAME(dweight_rows)(vectors, depthwise, g, from, d, to, pitch)
        FOR_TILE(DWEIGHT_ROWS_OF, NAME(vectors_at)(o, end), g->depthwise);
#undef DWEIGHT_ROWS_OF
    }
}

/* At most CONV_TERMS pixels at a time: what they are multiplied with stays in L1 for all rows. */
static void NAME(add_dweight)(void *dweight, const void *x, const void *dy, const bn_grid *g,
                              ptrdiff_t begin, ptrdiff_t end, ptrdiff_t pitch)
{
    const ptrdiff_t columns = bn_min(g->columns, CONV_TERMS);
    const ptrdiff_t rows = bn_min(g->rows, CONV_TERMS / columns);
    const ptrdiff_t images = bn_min(g->images, CONV_TERMS / (rows * columns));
    for (ptrdiff_t image = 0; image < g->images; image += images)
        for (ptrdiff_t row = 0; row < g->rows; row += rows)
            for (ptrdiff_t column = 0; column < g->columns; column += columns) {
                bn_grid part = *g;
                part.images = bn_min(images, g->images - image);
                part.rows = bn_min(rows, g->rows - row);
                part.columns = bn_min(columns, g->columns - column);
                part.row = row, part.column = column;
                NAME(add_dweight_of)(
                    dweight, (const real *)x + image * g->x_image + row * g->x_row + column * g->x_column,
                    (const real *)dy + image * g->y_image + row * g->y_row + column * g->y_column, &part,
                    begin, end, pitch);
            }
}

/* ---- the gradient of the bias ---- */

/* A row of pixels is added up by itself, because the error of one long sum would be larger. */
static void NAME(add_dbias)(void *dbias, const void *dy, const bn_grid *g, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t o = begin; o < end; o += NAME(VEC))
        for (ptrdiff_t line = 0; line < g->images * g->rows; line++) {
            const ptrdiff_t image = line / g->rows, row = line % g->rows;
            const real *d = (const real *)dy + image * g->y_image + row * g->y_row + o;
            real *to = (real *)dbias + o;
            NAME(vec) sum = {0};
            for (ptrdiff_t i = 0; i < g->columns; i++, d += g->y_column) sum += NAME(load)(d);
            NAME(store)(to, NAME(load)(to) + sum);
        }
}

/* ---- weights ---- */

static void NAME(pack_weights)(void *packed, const void *weight, const bn_weights *w, ptrdiff_t o)
{
    const ptrdiff_t width = NAME(vectors_at)(o, w->outputs) * NAME(VEC);
    const ptrdiff_t count = bn_min(width, w->outputs - o), taps = w->tap_rows * w->tap_columns;
    const real *from = (const real *)weight + w->first + o * w->output_step;
    real *to = (real *)packed + o * taps * w->inputs;
    const ptrdiff_t tap = w->inputs * width; /* from the weights of a tap to those of the next */
    for (ptrdiff_t i = 0; i < w->inputs; i++, from += w->input_step, to += width) {
        for (ptrdiff_t c = 0; c < count; c++) {
            real *each = to + c;
            for (ptrdiff_t row = 0; row < w->tap_rows; row++)
                for (ptrdiff_t column = 0; column < w->tap_columns; column++, each += tap)
                    *each = from[row * w->row_step + column * w->column_step + c * w->output_step];
        }
        for (ptrdiff_t t = 0; t < taps; t++)
            for (ptrdiff_t c = count; c < width; c++) to[t * tap + c] = 0;
    }
}

/* For one tap. */
ALWAYS_INLINE void NAME(sum_tap)(real *to, ptrdiff_t to_step, const real *from, ptrdiff_t part,
                                 ptrdiff_t parts, ptrdiff_t outputs)
{
    for (ptrdiff_t o = 0; o < outputs; o += NAME(VEC)) {
        NAME(vec) sum = NAME(load)(from + o);
        for (ptrdiff_t k = 1; k < parts; k++) sum += NAME(load)(from + k * part + o);
        real each[NAME(VEC)];
        NAME(store)(each, sum);
        for (ptrdiff_t c = 0; c < bn_min(NAME(VEC), outputs - o); c++) to[(o + c) * to_step] = each[c];
    }
}

static void NAME(sum_dweights)(void *dweight, const bn_weights *w, const void *parts, ptrdiff_t count,
                               ptrdiff_t pitch, ptrdiff_t i)
{
    const ptrdiff_t tap = w->inputs * pitch, part = w->tap_rows * w->tap_columns * tap;
    const real *from = (const real *)parts + i * pitch;
    for (ptrdiff_t row = 0; row < w->tap_rows; row++)
        for (ptrdiff_t column = 0; column < w->tap_columns; column++, from += tap) {
            real *to = (real *)dweight + w->first + row * w->row_step + column * w->column_step;
            NAME(sum_tap)(to + i * w->input_step, w->output_step, from, part, count, w->outputs);
        }
}

/* ---- copies ---- */

enum {
    NAME(SQUARE) = BN_LINE / sizeof(real), /* the rows of such a square are cache lines */
    NAME(CORNER) = 4,                      /* transposed in registers where that is possible */
};

/* to[c][r] = from[r][c] for CORNER rows and columns. */
ALWAYS_INLINE void NAME(transpose_corner)(real *restrict to, ptrdiff_t to_pitch,
                                          const real *restrict from, ptrdiff_t from_pitch)
{
#if defined(BN_X86_DISPATCH) && BITS == 32
    __m128 row[4];
    for (int r = 0; r < 4; r++) row[r] = _mm_loadu_ps(from + r * from_pitch);
    _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
    for (int r = 0; r < 4; r++) _mm_storeu_ps(to + r * to_pitch, row[r]);
#else
    for (int c = 0; c < NAME(CORNER); c++)
        for (int r = 0; r < NAME(CORNER); r++) to[c * to_pitch + r] = from[r * from_pitch + c];
#endif
}

/* The same for up to SQUARE rows and columns. */
static void NAME(transpose_square)(real *restrict to, ptrdiff_t to_pitch, const real *restrict from,
                                   ptrdiff_t from_pitch, ptrdiff_t rows, ptrdiff_t columns)
{
    const ptrdiff_t whole_rows = rows - rows % NAME(CORNER);
    const ptrdiff_t whole_columns = columns - columns % NAME(CORNER);
    for (ptrdiff_t c = 0; c < whole_columns; c += NAME(CORNER))
        for (ptrdiff_t r = 0; r < whole_rows; r += NAME(CORNER))
            NAME(transpose_corner)(to + c * to_pitch + r, to_pitch, from + r * from_pitch + c, from_pitch);
    for (ptrdiff_t c = 0; c < columns; c++)
        for (ptrdiff_t r = c < whole_columns ? whole_rows : 0; r < rows; r++)
            to[c * to_pitch + r] = from[r * from_pitch + c];
}

/* Few rows, such as the channels of an image in colour, have no corners: row by row. */
ALWAYS_INLINE void NAME(transpose_rows)(real *restrict to, ptrdiff_t to_pitch,
                                        const real *restrict from, ptrdiff_t from_pitch,
                                        ptrdiff_t rows, ptrdiff_t columns)
{
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = 0; c < columns; c++) to[c * to_pitch + r] = from[r * from_pitch + c];
}

static void NAME(transpose)(real *restrict to, ptrdiff_t to_pitch, const real *restrict from,
                            ptrdiff_t from_pitch, ptrdiff_t rows, ptrdiff_t columns)
{
    if (rows < NAME(CORNER)) {
        NAME(transpose_rows)(to, to_pitch, from, from_pitch, rows, columns);
        return;
    }
    for (ptrdiff_t r = 0; r < rows; r += NAME(SQUARE))
        for (ptrdiff_t c = 0; c < columns; c += NAME(SQUARE))
            NAME(transpose_square)(to + c * to_pitch + r, to_pitch, from + r * from_pitch + c, from_pitch,
                                   bn_min(NAME(SQUARE), rows - r), bn_min(NAME(SQUARE), columns - c));
}

static void NAME(copy_pixels)(void *to, bn_pixel_steps to_steps, const void *from,
                              bn_pixel_steps from_steps, ptrdiff_t pixels, ptrdiff_t channels)
{
    real *restrict t = to;
    const real *restrict f = from;
    if (to_steps.channel == 1 && from_steps.channel == 1) {
        if (to_steps.pixel == channels && from_steps.pixel == channels)
            channels *= pixels, pixels = 1; /* without gaps: as one pixel */
        for (ptrdiff_t p = 0; p < pixels; p++)
            memcpy(t + p * to_steps.pixel, f + p * from_steps.pixel, channels * sizeof(real));
    } else if (to_steps.channel == 1 && from_steps.pixel == 1) {
        NAME(transpose)(t, to_steps.pixel, f, from_steps.channel, channels, pixels);
    } else if (to_steps.pixel == 1 && from_steps.channel == 1) {
        NAME(transpose)(t, to_steps.channel, f, from_steps.pixel, pixels, channels);
    } else {
        for (ptrdiff_t p = 0; p < pixels; p++)
            for (ptrdiff_t c = 0; c < channels; c++)
                t[p * to_steps.pixel + c * to_steps.channel] =
                    f[p * from_steps.pixel + c * from_steps.channel];
    }
}

#include "winograd_body.h"

static const bn_conv_kernels NAME(conv_table) = {
    .itemsize = sizeof(real),
    .lanes = NAME(VEC),
    .block = NAME(BLOCK),
    .pack_weights = NAME(pack_weights),
    .convolve = NAME(convolve),
    .winograd_weights = NAME(winograd_weights),
    .winograd_input = NAME(winograd_input),
    .winograd_output = NAME(winograd_output),
    .winograd_dy = NAME(winograd_dy),
    .winograd_dweight = NAME(winograd_dweight),
    .add_dweight = NAME(add_dweight),
    .add_dbias = NAME(add_dbias),
    .sum_dweights = NAME(sum_dweights),
    .copy_pixels = NAME(copy_pixels),
};
