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

/* Store the tile's sums, or add them to what was stored for the terms before. Several pointers of a tile may be the same:
   so all loads come first. */
ALWAYS_INLINE void NAME(conv_store)(const int vectors, NAME(vec) sum[][CONV_VECTORS], real *const *y,
                                    int add)
{
    if (add) {
        UNROLL
        for (int p = 0; p < CONV_PIXELS; p++)
            for (int v = 0; v < vectors; v++) sum[p][v] += NAME(load)(y[p] + v * NAME(VEC));
    }
    UNROLL
    for (int p = 0; p < CONV_PIXELS; p++)
        for (int v = 0; v < vectors; v++) NAME(store)(y[p] + v * NAME(VEC), sum[p][v]);
}

/* The part of the terms that is added up before the sums are stored: from each of some runs, the same
   range of values. */
typedef struct {
    ptrdiff_t run, runs, begin, end;
} NAME(terms);

ALWAYS_INLINE void NAME(conv_tile)(const int vectors, const int depthwise, const bn_grid *g,
                                   const NAME(terms) *t, const real *const *x, const real *weight,
                                   const real *bias, real *const *y)
{
    NAME(vec) sum[CONV_PIXELS][CONV_VECTORS];
    UNROLL
    for (int p = 0; p < CONV_PIXELS; p++)
        for (int v = 0; v < vectors; v++)
            sum[p][v] = bias ? NAME(load)(bias + v * NAME(VEC)) : (NAME(vec)){0};
    for (ptrdiff_t r = t->run; r < t->run + t->runs; r++) {
        const real *at[CONV_PIXELS];
        UNROLL
        for (int p = 0; p < CONV_PIXELS; p++) at[p] = x[p] + g->run[r];
        for (ptrdiff_t i = t->begin; i < t->end; i++, weight += vectors * NAME(VEC)) {
            NAME(vec) w[CONV_VECTORS];
            UNROLL
            for (int v = 0; v < vectors; v++) w[v] = NAME(load)(weight + v * NAME(VEC));
            UNROLL
            for (int p = 0; p < CONV_PIXELS; p++)
                for (int v = 0; v < vectors; v++)
                    sum[p][v] = NAME(fused)(NAME(factor)(depthwise, at[p], i, v), w[v], sum[p][v]);
        }
    }
    NAME(conv_store)(vectors, sum, y, !bias);
}

/* All pixels, tile by tile. A last tile with fewer pixels computes its last pixel repeatedly. The bias is
   NULL for all terms but the first. */
ALWAYS_INLINE void NAME(conv_pixels)(const int vectors, const int depthwise, const bn_grid *g,
                                     const NAME(terms) *t, const real *x, const real *weight,
                                     const real *bias, real *y)
{
    const ptrdiff_t pixels = g->images * g->rows * g->columns;
    ptrdiff_t image = 0, row = 0, column = 0;
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
        NAME(conv_tile)(vectors, depthwise, g, t, from, weight, bias, to);
    }
}

/* All terms, at most CONV_TERMS at a time: their weights stay in L1 for all pixels. */
ALWAYS_INLINE void NAME(conv_terms)(const int vectors, const int depthwise, const bn_grid *g,
                                    const real *x, const real *weight, const real *bias, real *y)
{
    if (g->runs == 0) {
        const NAME(terms) none = {0};
        NAME(conv_pixels)(vectors, depthwise, g, &none, x, weight, bias, y);
        return;
    }
    const ptrdiff_t pieces = bn_ceil_div(g->length, CONV_TERMS); /* of a run */
    const ptrdiff_t runs = bn_max(1, CONV_TERMS / g->length);
    for (ptrdiff_t run = 0; run < g->runs; run += runs)
        for (ptrdiff_t piece = 0; piece < pieces; piece++) {
            const NAME(terms) t = {.run = run,
                                   .runs = bn_min(runs, g->runs - run),
                                   .begin = piece * g->length / pieces,
                                   .end = (piece + 1) * g->length / pieces};
            NAME(conv_pixels)(vectors, depthwise, g, &t, x, weight, bias, y);
            weight += t.runs * (t.end - t.begin) * vectors * NAME(VEC);
            bias = NULL;
        }
}

static void NAME(convolve)(void *y, const void *x, const void *weight, const void *bias,
                           const bn_grid *g, ptrdiff_t outputs)
{
    const ptrdiff_t taps = g->runs * g->length;
    for (ptrdiff_t o = 0; o < outputs; o += NAME(BLOCK)) {
        const real *w = (const real *)weight + o * taps, *b = (const real *)bias + o;
        const real *from = (const real *)x + (g->depthwise ? o : 0);
        real *to = (real *)y + o;
#define CONV_TERMS_OF(vectors, depthwise) NAME(conv_terms)(vectors, depthwise, g, from, w, b, to)
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

/* x has one pointer for each row of the tile, to what the row is multiplied with at the first pixel. */
ALWAYS_INLINE void NAME(dweight_tile)(const int vectors, const int depthwise, const bn_grid *g,
                                      const real *const *x, const real *dy, real *dweight,
                                      ptrdiff_t pitch, ptrdiff_t rows)
{
    NAME(vec) sum[CONV_ROWS][CONV_VECTORS];
    UNROLL
    for (int k = 0; k < CONV_ROWS; k++)
        for (int v = 0; v < vectors; v++) sum[k][v] = (NAME(vec)){0};
    for (ptrdiff_t image = 0; image < g->images; image++)
        for (ptrdiff_t row = 0; row < g->rows; row++) {
            const real *d = dy + image * g->y_image + row * g->y_row;
            ptrdiff_t i = image * g->x_image + row * g->x_row;
            const ptrdiff_t end = i + g->columns * g->x_column;
            for (; i < end; i += g->x_column, d += g->y_column) {
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

/* All rows, tile by tile. A last tile with fewer rows computes its last row repeatedly. */
ALWAYS_INLINE void NAME(dweight_rows)(const int vectors, const int depthwise, const bn_grid *g,
                                      const real *x, const real *dy, real *dweight, ptrdiff_t pitch)
{
    const ptrdiff_t rows = g->runs * g->length;
    ptrdiff_t run = 0, i = 0;
    for (ptrdiff_t row = 0; row < rows;) {
        const real *from[CONV_ROWS];
        const ptrdiff_t first = row;
        for (int k = 0; k < CONV_ROWS; k++) {
            from[k] = x + g->run[run] + i;
            if (row < rows && ++row < rows && ++i == g->length) i = 0, run++;
        }
        real *to = dweight + first * pitch;
        NAME(dweight_tile)(vectors, depthwise, g, from, dy, to, pitch, row - first);
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
    const ptrdiff_t count = bn_min(width, w->outputs - o);
    const real *from = (const real *)weight + o * w->output_step;
    real *to = (real *)packed + o * w->taps * w->inputs;
    const ptrdiff_t tap = w->inputs * width; /* from the weights of a tap to those of the next */
    for (ptrdiff_t i = 0; i < w->inputs; i++, from += w->input_step, to += width) {
        for (ptrdiff_t c = 0; c < count; c++)
            for (ptrdiff_t t = 0; t < w->taps; t++)
                to[t * tap + c] = from[w->tap[t] + c * w->output_step];
        for (ptrdiff_t t = 0; t < w->taps; t++)
            for (ptrdiff_t c = count; c < width; c++) to[t * tap + c] = 0;
    }
}

static void NAME(sum_dweights)(void *dweight, const bn_weights *w, const void *parts, ptrdiff_t count,
                               ptrdiff_t pitch, ptrdiff_t i)
{
    const ptrdiff_t tap = w->inputs * pitch, size = w->taps * tap;
    for (ptrdiff_t o = 0; o < w->outputs; o += NAME(VEC))
        for (ptrdiff_t t = 0; t < w->taps; t++) {
            const real *from = (const real *)parts + t * tap + i * pitch + o;
            real *to = (real *)dweight + w->tap[t] + i * w->input_step + o * w->output_step;
            NAME(vec) sum = NAME(load)(from);
            for (ptrdiff_t k = 1; k < count; k++) sum += NAME(load)(from + k * size);
            real each[NAME(VEC)];
            NAME(store)(each, sum);
            for (ptrdiff_t c = 0; c < bn_min(NAME(VEC), w->outputs - o); c++)
                to[c * w->output_step] = each[c];
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

static const bn_conv_kernels NAME(conv_table) = {
    .itemsize = sizeof(real),
    .lanes = NAME(VEC),
    .block = NAME(BLOCK),
    .pack_weights = NAME(pack_weights),
    .convolve = NAME(convolve),
    .add_dweight = NAME(add_dweight),
    .add_dbias = NAME(add_dbias),
    .sum_dweights = NAME(sum_dweights),
    .copy_pixels = NAME(copy_pixels),
};
