/* Sums of a chunk, in double: Σd and Σd² of d = x - shift, or Σg and Σg·(x - mean). A planar run is
   added up in BN_LANES lanes, value i in lane i mod BN_LANES, and the lanes in a fixed order;
   channels-last, each column has a sum of its own. Values go into a sum in the order of rows and
   columns: nothing depends on the instruction set.

   The conversion to double is what limits them (Zen 4: two cycles for 8 values). Adding by fused
   multiply-adds on the other pipes gained nothing; adding four floats before each conversion took
   0.65 of the time backward, and costs the digits that these sums are for. */

enum {
    NAME(STRIP_WIDES) = 4,     /* columns of a strip: as many sums as AVX2 has registers for */
    NAME(TILE_CHANNELS) = 64,  /* planar channels whose sums stay in L1 */
};

/* What is added up. A constant wherever it is used, so that each case is a loop of its own. */
typedef struct {
    int products; /* Σg and Σg·xm, else Σd and Σd² */
    int plain;    /* d = x */
    bn_activation activation;
    int has_y;
    int step;  /* of shift and coefficients: 0 planar, 1 channels-last */
    int wides; /* added in one step */
} NAME(kind);

/* The operands at one place. */
typedef struct {
    const stored *x, *dy, *y;
    const double *shift;
    NAME(channel) k;
    real negative;
} NAME(operands);

ALWAYS_INLINE NAME(operands) NAME(moved)(NAME(operands) o, ptrdiff_t values, const NAME(kind) kind)
{
    o.x += values;
    if (kind.products) o.dy += values;
    if (kind.has_y) o.y += values;
    return o;
}

ALWAYS_INLINE NAME(operands) NAME(on_channel)(NAME(operands) o, ptrdiff_t c)
{
    o.shift += c;
    o.k = NAME(channel_moved)(o.k, c);
    return o;
}

/* One step; in a part of one, only the first n values count, and g is 0 after them. */
ALWAYS_INLINE void NAME(add)(const NAME(kind) kind, NAME(operands) o, const int part, ptrdiff_t n,
                             wide *a, wide *b)
{
    for (int v = 0; v < kind.wides; v++) {
        const int i = v * WIDE, j = kind.step * i;
        if (!kind.products) {
            wide d = WIDEN(NAME(read_narrow)(o.x + i));
            if (!kind.plain) d = kind.step ? d - load_wide(o.shift + j) : d - *o.shift;
            if (!kind.plain && part) d = first_of(d, n - i);
            a[v] += d;
            b[v] = MULTIPLY_ADD(d, d, b[v]);
        } else {
            NAME(narrow) x = NAME(read_narrow)(o.x + i), g = NAME(read_narrow)(o.dy + i);
            NAME(narrow) xm = kind.step ? x - NAME(load_narrow)(o.k.mean + j) : x - *o.k.mean;
            if (kind.activation) {
                NAME(narrow) z;
                if (kind.has_y) z = NAME(read_narrow)(o.y + i);
                else if (kind.step)
                    z = xm * NAME(load_narrow)(o.k.scale + j) + NAME(load_narrow)(o.k.shift + j);
                else z = xm * *o.k.scale + *o.k.shift;
                g = GATE(g, z, kind.activation, o.negative);
            }
            wide wide_g = WIDEN(g);
            a[v] += wide_g;
            b[v] = MULTIPLY_ADD(wide_g, WIDEN(xm), b[v]);
        }
    }
}

/* n values, then zeros up to a whole step. */
ALWAYS_INLINE const stored *NAME(padded)(const NAME(kind) kind, const stored *from, stored *to,
                                         ptrdiff_t n)
{
    for (int i = 0; i < kind.wides * WIDE; i += NAME(VEC)) {
        ptrdiff_t rest = n - i;
        NAME(packed) v = {0};
        if (rest >= NAME(VEC)) v = NAME(take)(from + i, NAME(VEC));
        else if (rest > 0) v = NAME(take)(from + i, rest);
        NAME(place)(to + i, v, NAME(VEC));
    }
    return to;
}

/* The last step of a row: n values, fewer than a whole step has. */
ALWAYS_INLINE void NAME(add_part)(const NAME(kind) kind, NAME(operands) o, ptrdiff_t n, wide *a,
                                  wide *b)
{
    enum { MOST = WIDE * NAME(STRIP_WIDES) > BN_LANES ? WIDE * NAME(STRIP_WIDES) : BN_LANES };
    stored x[MOST], dy[MOST], y[MOST];
    o.x = NAME(padded)(kind, o.x, x, n);
    if (kind.products) o.dy = NAME(padded)(kind, o.dy, dy, n);
    if (kind.has_y) o.y = NAME(padded)(kind, o.y, y, n);
    NAME(add)(kind, o, 1, n, a, b);
}

/* ---- planar ---- */

ALWAYS_INLINE void NAME(add_run)(const NAME(kind) kind, NAME(operands) o, ptrdiff_t n, wide *a,
                                 wide *b)
{
    ptrdiff_t i = 0;
    for (; i + BN_LANES <= n; i += BN_LANES)
        NAME(add)(kind, NAME(moved)(o, i, kind), 0, 0, a, b);
    if (i < n) NAME(add_part)(kind, NAME(moved)(o, i, kind), n - i, a, b);
}

ALWAYS_INLINE NAME(operands) NAME(operands_at)(const NAME(kind) kind, const bn_views *v, ptrdiff_t r,
                                               ptrdiff_t c, NAME(operands) o)
{
    o.x = ROW(v->x, r, c);
    if (kind.products) o.dy = ROW(v->dy, r, c);
    if (kind.has_y) o.y = ROW(v->y, r, c);
    return o;
}

/* Rows `begin` to `end` of one channel. */
ALWAYS_INLINE void NAME(add_rows)(const NAME(kind) kind, const bn_views *v, ptrdiff_t begin,
                                  ptrdiff_t end, ptrdiff_t c, ptrdiff_t n, NAME(operands) o, wide *a,
                                  wide *b)
{
    for (ptrdiff_t r = begin; r < end; r++)
        NAME(add_run)(kind, NAME(operands_at)(kind, v, r, c, o), n, a, b);
}

ALWAYS_INLINE void NAME(sum_planar)(NAME(kind) kind, const bn_views *v, bn_extent e,
                                    NAME(operands) o, double *sum_a, double *sum_b)
{
    enum { N = LANE_WIDES, TILE = NAME(TILE_CHANNELS) };
    double lanes[TILE][2][BN_LANES];
    for (ptrdiff_t first = 0; first < e.channels; first += TILE) {
        ptrdiff_t last = first + TILE < e.channels ? first + TILE : e.channels;
        for (ptrdiff_t r = 0; r < e.rows; r += e.tile) {
            ptrdiff_t end = r + e.tile < e.rows ? r + e.tile : e.rows;
            for (ptrdiff_t c = first; c < last; c++) {
                wide a[N] = {0}, b[N] = {0};
                if (r > 0) {
                    get(a, lanes[c - first][0], N);
                    get(b, lanes[c - first][1], N);
                }
                NAME(operands) at = NAME(on_channel)(o, c);
                if (!kind.products && *at.shift == 0) {
                    NAME(kind) plain = kind;
                    plain.plain = 1;
                    NAME(add_rows)(plain, v, r, end, c, e.n, at, a, b);
                } else {
                    NAME(add_rows)(kind, v, r, end, c, e.n, at, a, b);
                }
                if (end == e.rows) {
                    sum_a[c] = add_lanes(a);
                    sum_b[c] = add_lanes(b);
                } else {
                    put(a, lanes[c - first][0], N);
                    put(b, lanes[c - first][1], N);
                }
            }
        }
    }
}

/* ---- channels-last ---- */

/* `n` ≤ a whole step of columns, whose sums stay in registers over the rows. */
ALWAYS_INLINE void NAME(sum_strip)(const NAME(kind) kind, const bn_views *v, ptrdiff_t begin,
                                   ptrdiff_t end, ptrdiff_t column, ptrdiff_t n, const int part,
                                   NAME(operands) o, double *sum_a, double *sum_b)
{
    wide a[NAME(STRIP_WIDES)], b[NAME(STRIP_WIDES)];
    get(a, sum_a, NAME(STRIP_WIDES));
    get(b, sum_b, NAME(STRIP_WIDES));
    for (ptrdiff_t r = begin; r < end; r++) {
        NAME(operands) at = NAME(moved)(NAME(operands_at)(kind, v, r, 0, o), column, kind);
        if (part) NAME(add_part)(kind, at, n, a, b);
        else NAME(add)(kind, at, 0, 0, a, b);
    }
    put(a, sum_a, NAME(STRIP_WIDES));
    put(b, sum_b, NAME(STRIP_WIDES));
}

/* Columns `column` to `column` + n of some rows. */
ALWAYS_INLINE void NAME(sum_columns)(const NAME(kind) kind, const bn_views *v, ptrdiff_t begin,
                                     ptrdiff_t end, ptrdiff_t tile, ptrdiff_t column, ptrdiff_t n,
                                     NAME(operands) o, double *sum_a, double *sum_b)
{
    enum { N = NAME(STRIP_WIDES) * WIDE };
    for (; begin < end; begin += tile) {
        ptrdiff_t stop = begin + tile < end ? begin + tile : end, i = 0;
        for (; i + N <= n; i += N)
            NAME(sum_strip)(kind, v, begin, stop, column + i, N, 0, NAME(on_channel)(o, i),
                            sum_a + i, sum_b + i);
        if (i < n)
            NAME(sum_strip)(kind, v, begin, stop, column + i, n - i, 1, NAME(on_channel)(o, i),
                            sum_a + i, sum_b + i);
    }
}

static int NAME(all_zero)(const double *values, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        if (values[i] != 0) return 0;
    return 1;
}

ALWAYS_INLINE void NAME(sum_last)(const NAME(kind) kind, const bn_views *v, bn_extent e,
                                  NAME(operands) o, double *sum_a, double *sum_b)
{
    enum { TILE = BN_WIDEST_ROW }; /* columns whose sums stay in L1 */
    double a[TILE + BN_PAD], b[TILE + BN_PAD];
    for (ptrdiff_t first = 0; first < e.n; first += TILE) {
        const ptrdiff_t n = e.n - first < TILE ? e.n - first : TILE;
        const ptrdiff_t tail = e.tail < n ? e.tail : n;
        NAME(operands) at = NAME(on_channel)(o, first);
        memset(a, 0, (n + BN_PAD) * sizeof *a);
        memset(b, 0, (n + BN_PAD) * sizeof *b);
        NAME(sum_columns)(kind, v, 0, e.rows, e.tile, first, n, at, a, b);
        NAME(sum_columns)(kind, v, e.rows, e.rows + (tail > 0), 1, first, tail, at, a, b);
        const ptrdiff_t channels = e.channels - first < n ? e.channels - first : n;
        for (ptrdiff_t f = channels; f < n; f += channels) /* only where a row has all channels */
            for (ptrdiff_t c = 0; c < channels; c++) {
                a[c] += a[f + c];
                b[c] += b[f + c];
            }
        memcpy(sum_a + first, a, channels * sizeof *a);
        memcpy(sum_b + first, b, channels * sizeof *b);
    }
}

/* ---- the kernels ---- */

/* The first of a few values of a channel, if it is large beside their distances. The sums are good
   about any value not too far from the mean; the driver sums again about the mean if it was. */
static void NAME(guess_shift)(bn_view x, bn_extent e, double *shift)
{
    enum { SAMPLES = 4, FAR = 8 };
    for (ptrdiff_t c = 0; c < e.channels; c++) {
        double low = HUGE_VAL, high = -HUGE_VAL, value = 0;
        for (int k = SAMPLES - 1; k >= 0; k--) {
            value = NAME(value)(ROW(x, k * e.rows / SAMPLES, c) + k * e.n / SAMPLES);
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        shift[c] = fabs(value) > FAR * (high - low) ? value : 0;
    }
}

static void NAME(stats)(bn_view x, bn_extent e, const double *shift, double *sum_d,
                        double *sum_dd)
{
    const NAME(operands) o = {.shift = shift};
    const bn_views v = {.x = x};
    if (!e.channels_last)
        NAME(sum_planar)((NAME(kind)){.wides = LANE_WIDES}, &v, e, o, sum_d, sum_dd);
    else if (NAME(all_zero)(shift, e.n))
        NAME(sum_last)((NAME(kind)){.plain = 1, .step = 1, .wides = NAME(STRIP_WIDES)}, &v, e, o,
                       sum_d, sum_dd);
    else
        NAME(sum_last)((NAME(kind)){.step = 1, .wides = NAME(STRIP_WIDES)}, &v, e, o, sum_d, sum_dd);
}

static void NAME(reduce)(const bn_views *v, bn_extent e, bn_coefficients k,
                         const bn_epilogue *epilogue, double *sum_g, double *sum_g_xm)
{
    const NAME(operands) o = {.k = NAME(coefficients_of)(k), .negative = (real)epilogue->negative_slope};
#define SUM(ACTIVATION, HAS_Y, LAST)                                                              \
    if (LAST)                                                                                     \
        NAME(sum_last)((NAME(kind)){1, 0, ACTIVATION, HAS_Y, 1, NAME(STRIP_WIDES)}, v, e, o,      \
                       sum_g, sum_g_xm);                                                          \
    else                                                                                          \
        NAME(sum_planar)((NAME(kind)){1, 0, ACTIVATION, HAS_Y, 0, LANE_WIDES}, v, e, o, sum_g,    \
                         sum_g_xm)
    SPECIALIZE(SUM, epilogue->activation, v->y.data != NULL, e.channels_last)
#undef SUM
}
