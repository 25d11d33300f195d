/* Sums of a chunk, in double: Σd and Σd² of d = x - offset, or Σg and Σg·xm of xm = x - mean. Below,
   a is the first sum and b the second.

   The order of additions is fixed. Planar: value i of a run goes into lane i mod BN_LANES, run after
   run, and add_lanes adds the lanes. Channels-last: each column has a sum, and the columns of a channel
   are added in their order. So nothing depends on the instruction set.

   The conversion to double limits the speed (on Zen 4, two cycles for 8 values). Adding by fused
   multiply-adds, which other pipes execute, gained nothing. Adding four floats before each conversion
   took 0.65 of the time backward, but loses the digits that the sums are in double for. */

/* One step of a loop: kind.wides vectors of values. With `masked`, only the first n values count. */
ALWAYS_INLINE void NAME(add)(const loop_kind kind, NAME(cursor) at, NAME(parameters) p,
                             const int masked, ptrdiff_t n, wide *a, wide *b)
{
    for (int v = 0; v < kind.wides; v++) {
        const int i = v * WIDE, j = kind.step * i;
        if (!kind.backward) {
            wide d = NAME(widen)(NAME(read_narrow)(at.x + i));
            if (kind.subtract) d = kind.step ? d - load_wide(p.offset + j) : d - *p.offset;
            if (masked) d = keep_first(d, n - i);
            a[v] += d;
            /* d = x - offset may have all digits of a double: then d² is not exact */
            b[v] = kind.subtract ? d * d + b[v] : NAME(multiply_add)(d, d, b[v]);
        } else {
            NAME(narrow) x = NAME(read_narrow)(at.x + i), g = NAME(read_narrow)(at.dy + i);
            NAME(narrow) xm = kind.step ? x - NAME(load_narrow)(p.mean + j) : x - *p.mean;
            if (kind.activation) {
                NAME(narrow) z;
                if (kind.extra) z = NAME(read_narrow)(at.extra + i);
                else if (kind.step)
                    z = xm * NAME(load_narrow)(p.scale + j) + NAME(load_narrow)(p.shift + j);
                else z = xm * *p.scale + *p.shift;
                g = NAME(gate_narrow)(g, z, kind.activation, p.negative_slope);
            }
            wide wide_g = NAME(widen)(g);
            a[v] += wide_g;
            b[v] = NAME(multiply_add)(wide_g, NAME(widen)(xm), b[v]);
        }
    }
}

/* Copies of the last values of a row, with zeros after them up to a whole step. */
enum { NAME(STEP) = WIDE * STRIP_WIDES > BN_LANES ? WIDE * STRIP_WIDES : BN_LANES };
typedef struct {
    _Alignas(BN_LINE) stored x[NAME(STEP)];
    _Alignas(BN_LINE) stored dy[NAME(STEP)];
    _Alignas(BN_LINE) stored extra[NAME(STEP)];
} NAME(padding);

ALWAYS_INLINE const stored *NAME(pad)(const loop_kind kind, const stored *from, stored *to, ptrdiff_t n)
{
    for (int i = 0; i < kind.wides * WIDE; i += NAME(VEC)) {
        ptrdiff_t rest = n - i;
        NAME(packed) v = {0};
        if (rest >= NAME(VEC)) v = NAME(load_packed)(from + i, NAME(VEC));
        else if (rest > 0) v = NAME(load_packed)(from + i, rest);
        NAME(store_packed)(to + i, v, NAME(VEC));
    }
    return to;
}

/* The last step of a row, over n values, fewer than a whole step has. Zeros of x and dy add nothing to
   the sums, except where d = 0 - offset: there the step is masked. (One loop body for whole and last
   steps would be less code, but took 5 to 15 % longer with AVX2 and AVX-512.) */
ALWAYS_INLINE void NAME(add_last)(const loop_kind kind, NAME(cursor) at, NAME(parameters) p,
                                  ptrdiff_t n, wide *a, wide *b)
{
    NAME(padding) padded;
    at.x = NAME(pad)(kind, at.x, padded.x, n);
    if (kind.backward) at.dy = NAME(pad)(kind, at.dy, padded.dy, n);
    if (kind.extra) at.extra = NAME(pad)(kind, at.extra, padded.extra, n);
    NAME(add)(kind, at, p, kind.subtract, n, a, b);
}

/* ---- planar ---- */

ALWAYS_INLINE void NAME(add_run)(const loop_kind kind, NAME(cursor) run, ptrdiff_t n,
                                 NAME(parameters) p, wide *a, wide *b)
{
    ptrdiff_t i = 0;
    for (; i + BN_LANES <= n; i += BN_LANES)
        NAME(add)(kind, NAME(cursor_moved)(kind, run, i), p, 0, 0, a, b);
    if (i < n) NAME(add_last)(kind, NAME(cursor_moved)(kind, run, i), p, n - i, a, b);
}

/* Rows `begin` to `end` of channel c. */
ALWAYS_INLINE void NAME(add_rows)(const loop_kind kind, const bn_tensors *t, ptrdiff_t begin,
                                  ptrdiff_t end, ptrdiff_t c, ptrdiff_t n, NAME(parameters) p, wide *a,
                                  wide *b)
{
    for (ptrdiff_t r = begin; r < end; r++)
        NAME(add_run)(kind, NAME(cursor_at)(kind, t, r, c), n, p, a, b);
}

ALWAYS_INLINE void NAME(sum_planar)(loop_kind kind, const bn_tensors *t, bn_extent e,
                                    NAME(parameters) p, double *sum_a, double *sum_b)
{
    enum { N = LANE_WIDES };
    double lanes[TILE_CHANNELS][2][BN_LANES];
    for (ptrdiff_t first = 0; first < e.channels; first += TILE_CHANNELS) {
        const ptrdiff_t last = bn_min(first + TILE_CHANNELS, e.channels);
        for (ptrdiff_t r = 0; r < e.rows; r += e.tile) {
            const ptrdiff_t end = bn_min(r + e.tile, e.rows);
            for (ptrdiff_t c = first; c < last; c++) {
                wide a[N] = {0}, b[N] = {0};
                if (r > 0) {
                    load_wides(a, lanes[c - first][0], N);
                    load_wides(b, lanes[c - first][1], N);
                }
                const NAME(parameters) at = NAME(parameters_moved)(p, c);
                kind.subtract = 0;
                if (kind.backward || *at.offset == 0) {
                    NAME(add_rows)(kind, t, r, end, c, e.n, at, a, b);
                } else {
                    kind.subtract = 1;
                    NAME(add_rows)(kind, t, r, end, c, e.n, at, a, b);
                }
                if (end == e.rows) {
                    sum_a[c] = add_lanes(a);
                    sum_b[c] = add_lanes(b);
                } else {
                    store_wides(lanes[c - first][0], a, N);
                    store_wides(lanes[c - first][1], b, N);
                }
            }
        }
    }
}

/* ---- channels-last ---- */

/* A strip of columns, whose sums stay in registers over the rows: a whole step, or the first n columns
   of one. */
ALWAYS_INLINE void NAME(sum_strip)(const loop_kind kind, const bn_tensors *t, ptrdiff_t begin,
                                   ptrdiff_t end, ptrdiff_t column, const int whole, ptrdiff_t n,
                                   NAME(parameters) p, double *sum_a, double *sum_b)
{
    wide a[STRIP_WIDES], b[STRIP_WIDES];
    load_wides(a, sum_a, STRIP_WIDES);
    load_wides(b, sum_b, STRIP_WIDES);
    for (ptrdiff_t r = begin; r < end; r++) {
        const NAME(cursor) row = NAME(cursor_at)(kind, t, r, 0);
        const NAME(cursor) at = NAME(cursor_moved)(kind, row, column);
        if (whole) NAME(add)(kind, at, p, 0, 0, a, b);
        else NAME(add_last)(kind, at, p, n, a, b);
    }
    store_wides(sum_a, a, STRIP_WIDES);
    store_wides(sum_b, b, STRIP_WIDES);
}

/* Columns `column` to `column` + n of rows `begin` to `end`. */
ALWAYS_INLINE void NAME(sum_columns)(const loop_kind kind, const bn_tensors *t, ptrdiff_t begin,
                                     ptrdiff_t end, ptrdiff_t tile, ptrdiff_t column, ptrdiff_t n,
                                     NAME(parameters) p, double *sum_a, double *sum_b)
{
    enum { N = STRIP_WIDES * WIDE };
    for (; begin < end; begin += tile) {
        const ptrdiff_t stop = bn_min(begin + tile, end);
        ptrdiff_t i = 0;
        for (; i + N <= n; i += N)
            NAME(sum_strip)(kind, t, begin, stop, column + i, 1, N, NAME(parameters_moved)(p, i),
                            sum_a + i, sum_b + i);
        if (i < n)
            NAME(sum_strip)(kind, t, begin, stop, column + i, 0, n - i,
                            NAME(parameters_moved)(p, i), sum_a + i, sum_b + i);
    }
}

ALWAYS_INLINE void NAME(sum_last)(const loop_kind kind, const bn_tensors *t, bn_extent e,
                                  NAME(parameters) p, double *sum_a, double *sum_b)
{
    enum { TILE = BN_WIDEST_ROW }; /* columns whose sums stay in L1 */
    double a[TILE + BN_PAD], b[TILE + BN_PAD];
    for (ptrdiff_t first = 0; first < e.n; first += TILE) {
        const ptrdiff_t n = bn_min(e.n - first, TILE), tail = bn_min(e.tail, n);
        const NAME(parameters) at = NAME(parameters_moved)(p, first);
        memset(a, 0, (n + BN_PAD) * sizeof *a);
        memset(b, 0, (n + BN_PAD) * sizeof *b);
        NAME(sum_columns)(kind, t, 0, e.rows, e.tile, first, n, at, a, b);
        NAME(sum_columns)(kind, t, e.rows, e.rows + (tail > 0), 1, first, tail, at, a, b);
        /* a row that holds several columns of each channel is not wider than one tile */
        const ptrdiff_t channels = bn_min(e.channels - first, n);
        for (ptrdiff_t f = channels; f < n; f += channels)
            for (ptrdiff_t c = 0; c < channels; c++) {
                a[c] += a[f + c];
                b[c] += b[f + c];
            }
        memcpy(sum_a + first, a, channels * sizeof *a);
        memcpy(sum_b + first, b, channels * sizeof *b);
    }
}

/* ---- the kernels ---- */

/* The channel's first value if it is far from 0 compared with how far apart a few values are, else 0.
   Sums about an offset near the mean do not cancel; if this one was not near enough, the driver sums
   again about the mean. */
static void NAME(guess_offset)(bn_tensor x, bn_extent e, double *offset)
{
    enum { SAMPLES = 4, FAR = 8 };
    for (ptrdiff_t c = 0; c < e.channels; c++) {
        double low = HUGE_VAL, high = -HUGE_VAL, value = 0;
        for (int k = SAMPLES - 1; k >= 0; k--) {
            const stored *row = NAME(row_of)(x, k * e.rows / SAMPLES, c);
            value = NAME(read_value)(row + k * e.n / SAMPLES);
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        offset[c] = fabs(value) > FAR * (high - low) ? value : 0;
    }
}

static int NAME(all_zero)(const double *values, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        if (values[i] != 0) return 0;
    return 1;
}

ALWAYS_INLINE void NAME(sum)(loop_kind kind, const bn_tensors *t, bn_extent e, NAME(parameters) p,
                             double *sum_a, double *sum_b)
{
    kind.wides = kind.step ? STRIP_WIDES : LANE_WIDES;
    if (kind.step) NAME(sum_last)(kind, t, e, p, sum_a, sum_b);
    else NAME(sum_planar)(kind, t, e, p, sum_a, sum_b);
}

static void NAME(stats)(bn_tensor x, bn_extent e, const double *offset, double *sum_d,
                        double *sum_dd)
{
    const NAME(parameters) p = {.offset = offset};
    const bn_tensors t = {.x = x};
    if (!e.channels_last) NAME(sum)((loop_kind){0}, &t, e, p, sum_d, sum_dd);
    else if (NAME(all_zero)(offset, e.n)) NAME(sum)((loop_kind){.step = 1}, &t, e, p, sum_d, sum_dd);
    else NAME(sum)((loop_kind){.step = 1, .subtract = 1}, &t, e, p, sum_d, sum_dd);
}

static void NAME(reduce)(const bn_tensors *t, bn_extent e, bn_coefficients k,
                         const bn_epilogue *epilogue, double *sum_g, double *sum_g_xm)
{
    const NAME(parameters) p = NAME(parameters_of)(k, epilogue);
    const int has_y = t->y.data != NULL;
#define SUM(ACTIVATION, HAS_Y, LAST)                                                              \
    NAME(sum)(                                                                                    \
        (loop_kind){.backward = 1, .activation = ACTIVATION, .extra = HAS_Y, .step = LAST}, t, e, \
        p, sum_g, sum_g_xm)
    switch (epilogue->activation) {
    case BN_NO_ACTIVATION: FOR_STEP(SUM, BN_NO_ACTIVATION, 0, e.channels_last); break;
    case BN_RELU: FOR_EXTRA_AND_STEP(SUM, BN_RELU, has_y, e.channels_last); break;
    case BN_LEAKY_RELU: FOR_EXTRA_AND_STEP(SUM, BN_LEAKY_RELU, has_y, e.channels_last); break;
    }
#undef SUM
}
