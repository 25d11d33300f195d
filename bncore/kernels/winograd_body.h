/* Winograd's convolution F(2 x 2, 3 x 3): a tile of 2 x 2 outputs from 4 x 4 pixels with 16 products of each
   pair of channels in place of 36. Images, kernel and tile are transformed, V = B'xB, U = GwG', y = A'(U V)A;
   the products of the 16 places are convolutions of 1 x 1, with tiles for pixels.
   Lavin & Gray, "Fast algorithms for convolutional neural networks", 2016. */

enum { NAME(PLACES) = 16 };

/* One of the 4 rows, or columns, of B'x. */
#define WINOGRAD_INPUT(k, d0, d1, d2, d3)                                                         \
    ((k) == 0 ? (d0) - (d2) : (k) == 1 ? (d1) + (d2) : (k) == 2 ? (d2) - (d1) : (d1) - (d3))

/* The first n channels of `tiles` tiles side by side, from their first pixel on. `to` has the values of a
   place `place` apart, those of a tile `channels`. */
ALWAYS_INLINE void NAME(winograd_strip)(real *to, ptrdiff_t place, const real *x, ptrdiff_t row,
                                        ptrdiff_t column, ptrdiff_t tiles, ptrdiff_t channels, ptrdiff_t n)
{
    NAME(vec) v[4][4]; /* [row of B'x][column], of this tile */
    for (ptrdiff_t t = 0; t < tiles; t++, to += channels, x += 2 * column) {
        UNROLL
        for (int c = 0; c < 4; c++) {
            if (c < 2 && t > 0) {
                for (int r = 0; r < 4; r++) v[r][c] = v[r][c + 2];
                continue;
            }
            const real *at = x + c * column;
            const NAME(vec) d0 = NAME(read)(at, n), d1 = NAME(read)(at + row, n);
            const NAME(vec) d2 = NAME(read)(at + 2 * row, n), d3 = NAME(read)(at + 3 * row, n);
            UNROLL
            for (int r = 0; r < 4; r++) v[r][c] = WINOGRAD_INPUT(r, d0, d1, d2, d3);
        }
        UNROLL
        for (int r = 0; r < 4; r++)
            for (int c = 0; c < 4; c++)
                NAME(write)(to + (4 * r + c) * place, WINOGRAD_INPUT(c, v[r][0], v[r][1], v[r][2], v[r][3]), n);
    }
}

static void NAME(winograd_input)(void *to, ptrdiff_t place, const void *x, ptrdiff_t row, ptrdiff_t column,
                                 ptrdiff_t tiles, ptrdiff_t channels)
{
    ptrdiff_t c = 0;
    for (; c + NAME(VEC) <= channels; c += NAME(VEC))
        NAME(winograd_strip)((real *)to + c, place, (const real *)x + c, row, column, tiles, channels,
                             NAME(VEC));
    if (c < channels)
        NAME(winograd_strip)((real *)to + c, place, (const real *)x + c, row, column, tiles, channels,
                             channels - c);
}

/* The last steps of a tile, for a vector of channels: `rows` * `columns` of its outputs, 1 or 2 each. */
ALWAYS_INLINE void NAME(winograd_tile)(real *y, ptrdiff_t row, ptrdiff_t column, const real *from,
                                       ptrdiff_t place, NAME(vec) bias, ptrdiff_t rows, ptrdiff_t columns,
                                       const bn_conv_end *end)
{
    NAME(vec) a[2][4]; /* A'm */
    UNROLL
    for (int c = 0; c < 4; c++) {
        const NAME(vec) m0 = NAME(load)(from + c * place), m1 = NAME(load)(from + (4 + c) * place);
        const NAME(vec) m2 = NAME(load)(from + (8 + c) * place), m3 = NAME(load)(from + (12 + c) * place);
        a[0][c] = m0 + m1 + m2;
        a[1][c] = m1 - m2 - m3;
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            real *to = y + r * row + c * column;
            NAME(vec) z = c == 0 ? a[r][0] + a[r][1] + a[r][2] : a[r][1] - a[r][2] - a[r][3];
            z += bias;
            if (end->add) z += NAME(load)(to);
            NAME(store)(to, NAME(ended)(z, end));
        }
}

static void NAME(winograd_output)(void *y, ptrdiff_t row, ptrdiff_t column, const void *from, ptrdiff_t place,
                                  const void *bias, ptrdiff_t tiles, ptrdiff_t rows, ptrdiff_t columns,
                                  ptrdiff_t pitch, const bn_conv_end *end)
{
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const ptrdiff_t across = bn_min(2, columns - 2 * t);
        real *to = (real *)y + 2 * t * column;
        const real *m = (const real *)from + t * pitch;
        for (ptrdiff_t o = 0; o < pitch; o += NAME(VEC)) {
            const NAME(vec) b = NAME(load)((const real *)bias + o);
            if (rows == 2 && across == 2)
                NAME(winograd_tile)(to + o, row, column, m + o, place, b, 2, 2, end);
            else NAME(winograd_tile)(to + o, row, column, m + o, place, b, rows, across, end);
        }
    }
}

/* One of the 4 rows, or columns, of Gw. */
#define WINOGRAD_WEIGHT(k, w0, w1, w2)                                                            \
    ((k) == 0 ? (w0) : (k) == 3 ? (w2) : (k) == 1 ? ((w0) + (w2)) * half + (w1)*half             \
                                                  : ((w0) + (w2)) * half - (w1)*half)

/* U of a vector of kernels, whose taps are `width` apart. */
ALWAYS_INLINE void NAME(winograd_kernels)(real *to, ptrdiff_t place, const real *taps, ptrdiff_t width)
{
    const real half = 0.5;
    NAME(vec) g[4][3];
    UNROLL
    for (int c = 0; c < 3; c++) {
        const NAME(vec) w0 = NAME(load)(taps + c * width), w1 = NAME(load)(taps + (3 + c) * width);
        const NAME(vec) w2 = NAME(load)(taps + (6 + c) * width);
        UNROLL
        for (int r = 0; r < 4; r++) g[r][c] = WINOGRAD_WEIGHT(r, w0, w1, w2);
    }
    UNROLL
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < 4; c++)
            NAME(store)(to + (4 * r + c) * place, WINOGRAD_WEIGHT(c, g[r][0], g[r][1], g[r][2]));
}

/* Those of one block of output channels, from o on, for all input channels, in the order in which `convolve`
   reads the weights of a place. */
static void NAME(winograd_weights)(void *packed, ptrdiff_t place, const void *weight, const bn_weights *w,
                                   ptrdiff_t o)
{
    const ptrdiff_t width = NAME(vectors_at)(o, w->outputs) * NAME(VEC);
    const ptrdiff_t count = bn_min(width, w->outputs - o);
    const real *from = (const real *)weight + w->first + o * w->output_step;
    real *to = (real *)packed + o * w->inputs;
    real taps[9 * NAME(BLOCK)] = {0}; /* zeros beyond the last output channel */
    for (ptrdiff_t i = 0; i < w->inputs; i++, from += w->input_step, to += width) {
        for (ptrdiff_t c = 0; c < count; c++)
            for (int k = 0; k < 9; k++)
                taps[k * width + c] =
                    from[c * w->output_step + k / 3 * w->row_step + k % 3 * w->column_step];
        for (ptrdiff_t c = 0; c < width; c += NAME(VEC))
            NAME(winograd_kernels)(to + c, place, taps + c, width);
    }
}

/* ---- the gradient of the weight: F(3 x 3, 2 x 2), whose kernel is a tile of dy ---- */

/* One of the 4 rows, or columns, of dy's transform. */
#define WINOGRAD_DY(k, d0, d1) ((k) == 0 ? (d0) : (k) == 3 ? (d1) : (k) == 1 ? ((d0) + (d1)) * half : ((d0) - (d1)) * half)

/* The first `rows` * `columns` pixels of a tile, 1 or 2 each; the others are zeros. */
ALWAYS_INLINE void NAME(winograd_dy_tile)(real *to, ptrdiff_t place, const real *dy, ptrdiff_t row,
                                          ptrdiff_t column, ptrdiff_t rows, ptrdiff_t columns)
{
    const real half = 0.5;
    const NAME(vec) zero = {0};
    NAME(vec) v[4][2];
    UNROLL
    for (int c = 0; c < 2; c++) {
        const NAME(vec) d0 = c < columns ? NAME(load)(dy + c * column) : zero;
        const NAME(vec) d1 = c < columns && rows == 2 ? NAME(load)(dy + row + c * column) : zero;
        UNROLL
        for (int r = 0; r < 4; r++) v[r][c] = WINOGRAD_DY(r, d0, d1);
    }
    UNROLL
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < 4; c++) NAME(store)(to + (4 * r + c) * place, WINOGRAD_DY(c, v[r][0], v[r][1]));
}

static void NAME(winograd_dy)(void *to, ptrdiff_t place, const void *dy, ptrdiff_t row, ptrdiff_t column,
                              ptrdiff_t tiles, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t pitch)
{
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const ptrdiff_t across = bn_min(2, columns - 2 * t);
        const real *from = (const real *)dy + 2 * t * column;
        real *at = (real *)to + t * pitch;
        for (ptrdiff_t o = 0; o < pitch; o += NAME(VEC))
            if (rows == 2 && across == 2)
                NAME(winograd_dy_tile)(at + o, place, from + o, row, column, 2, 2);
            else NAME(winograd_dy_tile)(at + o, place, from + o, row, column, rows, across);
    }
}

/* One of the 3 rows, or columns, of the weight's gradient. */
#define WINOGRAD_DWEIGHT(k, m0, m1, m2, m3)                                                       \
    ((k) == 0 ? (m0) + (m1) + (m2) : (k) == 1 ? (m1) - (m2) : (m1) + (m2) - (m3))

/* For input channel i: the sum of `count` parts, in this order, transformed back. */
static void NAME(winograd_dweight)(void *dweight, const bn_weights *w, const void *parts, ptrdiff_t count,
                                   ptrdiff_t pitch, ptrdiff_t i)
{
    const ptrdiff_t place = w->inputs * pitch;
    for (ptrdiff_t o = 0; o < w->outputs; o += NAME(VEC)) {
        NAME(vec) m[4][4], v[3][4];
        for (int k = 0; k < NAME(PLACES); k++) {
            const real *from = (const real *)parts + k * place + i * pitch + o;
            NAME(vec) sum = NAME(load)(from);
            for (ptrdiff_t p = 1; p < count; p++) sum += NAME(load)(from + p * NAME(PLACES) * place);
            m[k / 4][k % 4] = sum;
        }
        for (int c = 0; c < 4; c++)
            for (int r = 0; r < 3; r++) v[r][c] = WINOGRAD_DWEIGHT(r, m[0][c], m[1][c], m[2][c], m[3][c]);
        for (int r = 0; r < 3; r++)
            for (int c = 0; c < 3; c++) {
                real each[NAME(VEC)];
                NAME(store)(each, WINOGRAD_DWEIGHT(c, v[r][0], v[r][1], v[r][2], v[r][3]));
                real *to = (real *)dweight + w->first + r * w->row_step + c * w->column_step +
                           i * w->input_step + o * w->output_step;
                for (ptrdiff_t k = 0; k < bn_min(NAME(VEC), w->outputs - o); k++)
                    to[k * w->output_step] = each[k];
            }
    }
}
