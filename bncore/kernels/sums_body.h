/* Sums of a chunk: Σxm and Σxm² of xm = x - mean, or Σg and Σg·xm. Forward, `mean` is a guess. Below, a is
   the first sum and b the second.

   Only a few values are added in the arithmetic's dtype, at most SUM_TERMS in a row. Such short sums are
   added in double. Converting every value to double would take longer than all the rest.

   The order of additions is fixed, so that nothing depends on the instruction set. Planar: value i of a row
   goes into lane i mod BN_SUM_LANES. A block is SUM_TERMS steps of BN_SUM_LANES values; the lanes of two
   blocks are added, and then added to BN_LANES sums in double. Channels-last: each column has a sum, and
   the columns of a channel are added in their order. Where a vector has fewer values than lanes, 0 is added
   to the others, which changes nothing, because no sum is ever -0. */

enum {
    NAME(STRIP) = SUM_VECTORS * NAME(VEC), /* values whose sums are in registers */
    NAME(LANE_VECS) = BN_SUM_LANES / NAME(VEC),
    NAME(VEC_WIDES) = NAME(VEC) / WIDE,
};

/* g of the first n values of a vector. */
ALWAYS_INLINE NAME(vec) NAME(read_g)(const loop_kind kind, NAME(cursor) at, NAME(parameters) p,
                                     ptrdiff_t n, NAME(vec) xm)
{
    const NAME(vec) g = NAME(read)(at.dy, n);
    if (!kind.activation) return g;
    const NAME(vec) z = kind.extra ? NAME(read)(at.extra, n)
                                   : NAME(z_of)(kind, xm, NAME(values_of)(kind, p.scale),
                                                NAME(values_of)(kind, p.shift), at);
    return NAME(gate)(g, z, kind.activation, p.negative_slope);
}

/* The same, times the weight of the run. */
ALWAYS_INLINE NAME(vec) NAME(read_weighted_g)(const loop_kind kind, NAME(cursor) at,
                                              NAME(parameters) p, ptrdiff_t n, NAME(vec) xm)
{
    const NAME(vec) g = NAME(read_g)(kind, at, p, n, xm);
    return kind.run ? g * NAME(load)(at.weight) : g;
}

/* For each value of a vector, what is added to both sums; or the sums. */
typedef struct {
    NAME(vec) a, b;
} NAME(pair);

/* What the first n values of a vector add. */
ALWAYS_INLINE NAME(pair) NAME(pair_at)(const loop_kind kind, NAME(cursor) at, NAME(parameters) p,
                                       ptrdiff_t n)
{
    const NAME(vec) x = NAME(read)(at.x, n);
    NAME(vec) xm = x - NAME(values_of)(kind, p.mean);
    if (kind.backward) {
        const NAME(vec) g = NAME(read_weighted_g)(kind, at, p, n, xm);
        return (NAME(pair)){g, g * xm};
    }
    if (n < NAME(VEC)) xm = NAME(keep_first)(xm, n);
    return (NAME(pair)){xm, xm * xm};
}

ALWAYS_INLINE NAME(pair) NAME(plus)(NAME(pair) s, NAME(pair) t)
{
    return (NAME(pair)){s.a + t.a, s.b + t.b};
}

/* Add the first n values of a strip. */
ALWAYS_INLINE void NAME(add_strip)(const loop_kind kind, NAME(cursor) at, NAME(parameters) p,
                                   ptrdiff_t n, NAME(pair) *sums)
{
    for (int v = 0; v < SUM_VECTORS; v++) {
        const NAME(cursor) here = NAME(cursor_moved)(kind, at, v * NAME(VEC));
        const ptrdiff_t left = n - v * NAME(VEC);
        if (left >= NAME(VEC))
            sums[v] = NAME(plus)(sums[v], NAME(pair_at)(kind, here, p, NAME(VEC)));
        else if (left > 0) sums[v] = NAME(plus)(sums[v], NAME(pair_at)(kind, here, p, left));
    }
}

/* Add a vector to sums in double. */
ALWAYS_INLINE void NAME(add_wide)(NAME(vec) v, wide *sums)
{
    NAME(narrow) part[NAME(VEC_WIDES)];
    memcpy(part, &v, sizeof v);
    for (int k = 0; k < NAME(VEC_WIDES); k++) sums[k] += NAME(widen)(part[k]);
}

/* ---- planar ---- */

/* Add lanes i, i + BN_LANES, i + 2 * BN_LANES, ... to sum i. */
ALWAYS_INLINE void NAME(add_up)(const NAME(pair) *lanes, wide *a, wide *b)
{
    enum { N = BN_LANES / NAME(VEC) };
    for (int i = 0; i < N; i++) {
        const NAME(pair) sum = NAME(plus)(NAME(plus)(lanes[i], lanes[i + N]),
                                          NAME(plus)(lanes[i + 2 * N], lanes[i + 3 * N]));
        NAME(add_wide)(sum.a, a + i * NAME(VEC_WIDES));
        NAME(add_wide)(sum.b, b + i * NAME(VEC_WIDES));
    }
}

/* Rows `begin` to `end` of channel c, n values of each from `first` on: at most SUM_TERMS steps. */
ALWAYS_INLINE void NAME(sum_block)(const loop_kind kind, const bn_tensors *t, ptrdiff_t begin,
                                   ptrdiff_t end, ptrdiff_t c, ptrdiff_t first, ptrdiff_t n,
                                   NAME(parameters) p, NAME(pair) *lanes)
{
    for (int v = 0; v < NAME(LANE_VECS); v += SUM_VECTORS) {
        NAME(pair) strip[SUM_VECTORS] = {0};
        NAME(cursor) row = NAME(cursor_at)(kind, t, begin, c);
        row = NAME(cursor_moved)(kind, row, first + v * NAME(VEC));
        const ptrdiff_t left = n - v * NAME(VEC);
        for (ptrdiff_t r = begin; r < end; r++, row = NAME(next_row)(kind, t, row)) {
            ptrdiff_t i = 0;
            for (; i + NAME(STRIP) <= left; i += BN_SUM_LANES)
                NAME(add_strip)(kind, NAME(cursor_moved)(kind, row, i), p, NAME(STRIP), strip);
            if (i < left)
                NAME(add_strip)(kind, NAME(cursor_moved)(kind, row, i), p, left - i, strip);
        }
        memcpy(lanes + v, strip, sizeof strip);
    }
}

/* How many rows, of at most how many values each, make a block. Two blocks have at most as many rows as a
   tile and divide them, so that sums do not depend on tiles. */
typedef struct {
    ptrdiff_t rows, n;
} NAME(block);

ALWAYS_INLINE NAME(block) NAME(block_of)(ptrdiff_t n)
{
    const ptrdiff_t steps = (n + BN_SUM_LANES - 1) / BN_SUM_LANES;
    NAME(block) b = {SUM_TERMS, SUM_TERMS * BN_SUM_LANES};
    while (b.rows > 1 && b.rows * steps > SUM_TERMS) b.rows /= 2;
    return b;
}

/* Rows `begin` to `end` of channel c. The second of two blocks is beside the first, in a long row, or below
   it. */
ALWAYS_INLINE void NAME(add_rows)(const loop_kind kind, const bn_tensors *t, ptrdiff_t begin,
                                  ptrdiff_t end, NAME(block) b, ptrdiff_t c, ptrdiff_t n,
                                  NAME(parameters) p, wide *sum_a, wide *sum_b)
{
    const int side_by_side = n > b.n;
    const ptrdiff_t down = side_by_side ? 0 : b.rows, right = side_by_side ? b.n : 0;
    for (ptrdiff_t r = begin; r < end; r += b.rows + down)
        for (ptrdiff_t i = 0; i < n; i += b.n + right) {
            NAME(pair) lanes[NAME(LANE_VECS)], more[NAME(LANE_VECS)];
            NAME(sum_block)(kind, t, r, bn_min(r + b.rows, end), c, i, bn_min(b.n, n - i), p, lanes);
            const ptrdiff_t below = r + down, beside = i + right;
            if (below < end && beside < n) {
                NAME(sum_block)(kind, t, below, bn_min(below + b.rows, end), c, beside,
                                bn_min(b.n, n - beside), p, more);
                for (int v = 0; v < NAME(LANE_VECS); v++) lanes[v] = NAME(plus)(lanes[v], more[v]);
            }
            NAME(add_up)(lanes, sum_a, sum_b);
        }
}

ALWAYS_INLINE void NAME(sum_planar)(const loop_kind kind, const bn_tensors *t, bn_extent e,
                                    NAME(parameters) p, double *sum_a, double *sum_b)
{
    enum { N = LANE_WIDES };
    double lanes[TILE_CHANNELS][2][BN_LANES];
    const NAME(block) block = NAME(block_of)(e.n);
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
                NAME(add_rows)(kind, t, r, end, block, c, e.n, NAME(parameters_moved)(p, c), a, b);
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

ALWAYS_INLINE void NAME(add_to)(double *sums, NAME(vec) v)
{
    wide w[NAME(VEC_WIDES)];
    load_wides(w, sums, NAME(VEC_WIDES));
    NAME(add_wide)(v, w);
    store_wides(sums, w, NAME(VEC_WIDES));
}

/* The sum of a vector's terms over so many rows, 1 or 4. */
ALWAYS_INLINE NAME(pair) NAME(pair_of_rows)(const loop_kind kind, const bn_tensors *t, const int rows,
                                            NAME(cursor) at, NAME(parameters) p, ptrdiff_t n)
{
    NAME(pair) row[4];
    for (int r = 0; r < rows; r++, at = NAME(next_row)(kind, t, at))
        row[r] = NAME(pair_at)(kind, at, p, n);
    if (rows == 1) return row[0];
    return NAME(plus)(NAME(plus)(row[0], row[1]), NAME(plus)(row[2], row[3]));
}

/* Add n columns of so many rows to their sums. */
ALWAYS_INLINE void NAME(add_columns)(const loop_kind kind, const bn_tensors *t, const int rows,
                                     NAME(cursor) at, NAME(parameters) p, ptrdiff_t n,
                                     NAME(pair) *sums)
{
    ptrdiff_t i = 0;
    for (; i + NAME(VEC) <= n; i += NAME(VEC), sums++)
        *sums = NAME(plus)(*sums, NAME(pair_of_rows)(kind, t, rows, NAME(cursor_moved)(kind, at, i),
                                                      NAME(parameters_moved)(p, i), NAME(VEC)));
    if (i < n)
        *sums = NAME(plus)(*sums, NAME(pair_of_rows)(kind, t, rows, NAME(cursor_moved)(kind, at, i),
                                                      NAME(parameters_moved)(p, i), n - i));
}

/* Columns `column` to `column` + n of rows `begin` to `end`. Four rows are added at a time, one after the
   other in memory, which hardware prefetches, and SUM_TERMS such sums before they are added in double. */
ALWAYS_INLINE void NAME(sum_columns)(const loop_kind kind, const bn_tensors *t, ptrdiff_t begin,
                                     ptrdiff_t end, ptrdiff_t column, ptrdiff_t n, NAME(parameters) p,
                                     double *sum_a, double *sum_b)
{
    NAME(pair) sums[BN_WIDEST_ROW / NAME(VEC)];
    const ptrdiff_t vectors = (n + NAME(VEC) - 1) / NAME(VEC);
    NAME(cursor) at = NAME(cursor_moved)(kind, NAME(cursor_at)(kind, t, begin, 0), column);
    for (ptrdiff_t r = begin; r < end;) {
        const ptrdiff_t stop = bn_min(r + 4 * SUM_TERMS, end);
        memset(sums, 0, vectors * sizeof *sums);
        for (; r + 4 <= stop; r += 4) {
            NAME(add_columns)(kind, t, 4, at, p, n, sums);
            for (int k = 0; k < 4; k++) at = NAME(next_row)(kind, t, at);
        }
        for (; r < stop; r++, at = NAME(next_row)(kind, t, at))
            NAME(add_columns)(kind, t, 1, at, p, n, sums);
        for (ptrdiff_t k = 0; k < vectors; k++) {
            NAME(add_to)(sum_a + k * NAME(VEC), sums[k].a);
            NAME(add_to)(sum_b + k * NAME(VEC), sums[k].b);
        }
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
        NAME(sum_columns)(kind, t, 0, e.rows, first, n, at, a, b);
        NAME(sum_columns)(kind, t, e.rows, e.rows + (tail > 0), first, tail, at, a, b);
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

/* ---- in double ---- */

/* The same sums for values whose sums overflow in the arithmetic's dtype, or whose products underflow. They
   are rare, so one slow loop serves all kinds. */
static void NAME(sum_in_double)(loop_kind kind, const bn_tensors *t, bn_extent e, NAME(parameters) p,
                                double *sum_a, double *sum_b)
{
    memset(sum_a, 0, e.channels * sizeof *sum_a);
    memset(sum_b, 0, e.channels * sizeof *sum_b);
    for (ptrdiff_t r = 0; r < e.rows + (e.tail > 0); r++)
        for (ptrdiff_t run = 0; run < (kind.step ? 1 : e.channels); run++) {
            const NAME(cursor) row = NAME(cursor_at)(kind, t, r, run);
            for (ptrdiff_t i = 0, m, n = r < e.rows ? e.n : e.tail; i < n; i += m) {
                m = bn_min(n - i, NAME(VEC));
                const NAME(cursor) at = NAME(cursor_moved)(kind, row, i);
                const NAME(parameters) q = NAME(parameters_moved)(p, kind.step ? i : run);
                const NAME(vec) x = NAME(read)(at.x, m);
                const NAME(vec) mean = NAME(values_of)(kind, q.mean);
                real xs[NAME(VEC)], means[NAME(VEC)], gs[NAME(VEC)];
                memcpy(xs, &x, sizeof xs);
                memcpy(means, &mean, sizeof means);
                if (kind.backward) {
                    const NAME(vec) g = NAME(read_weighted_g)(kind, at, q, m, x - mean);
                    memcpy(gs, &g, sizeof gs);
                }
                for (ptrdiff_t l = 0; l < m; l++) {
                    const ptrdiff_t c = kind.step ? (i + l) % e.channels : run;
                    const double xm = (double)xs[l] - means[l], g = kind.backward ? gs[l] : xm;
                    sum_a[c] += g;
                    sum_b[c] += g * xm;
                }
            }
        }
}

/* ---- the kernels ---- */

/* The samples of up to VEC channels, which need not be aligned in a tensor that is gathered. Those of channels
   that are apart are all collected before the first vector is read, which waits until its values are in the
   cache. */
ALWAYS_INLINE void NAME(read_samples)(const char *x, const ptrdiff_t *places, int samples,
                                      ptrdiff_t channel_stride, ptrdiff_t n, NAME(vec) *found)
{
    uintptr_t addresses = 0;
    for (int k = 0; k < samples; k++) addresses |= (uintptr_t)(x + places[k]);
    if (channel_stride == sizeof(stored) && addresses % sizeof(stored) == 0) {
        for (int k = 0; k < samples; k++)
            found[k] = NAME(read)((const stored *)(x + places[k]), n);
        return;
    }
    stored values[BN_SAMPLES][NAME(VEC)];
    if (n < NAME(VEC)) memset(values, 0, sizeof values);
    for (ptrdiff_t l = 0; l < n; l++)
        for (int k = 0; k < samples; k++)
            memcpy(&values[k][l], x + places[k] + l * channel_stride, sizeof(stored));
    for (int k = 0; k < samples; k++) found[k] = NAME(read)(values[k], NAME(VEC));
}

/* The samples are added in pairs, so that equal ones have their own value as mean. */
static void NAME(guess_mean)(const char *x, const ptrdiff_t *places, int samples,
                             ptrdiff_t channel_stride, ptrdiff_t channels, double *mean,
                             double *spread)
{
    for (ptrdiff_t c = 0; c < channels; c += NAME(VEC)) {
        const ptrdiff_t n = bn_min(NAME(VEC), channels - c);
        const char *first = x + c * channel_stride;
        NAME(vec) values[BN_SAMPLES] = {0};
        NAME(read_samples)(first, places, samples, channel_stride, n, values);
        NAME(vec) low = values[0], high = low;
        for (int k = 0; k < samples; k++) {
            low = SELECT(values[k] < low, values[k], low);
            high = SELECT(values[k] > high, values[k], high);
            values[k] *= (real)1 / samples;
        }
        for (int half = samples / 2; half > 0; half /= 2)
            for (int k = 0; k < half; k++) values[k] += values[k + half];
        high -= low;
        real means[NAME(VEC)], spreads[NAME(VEC)];
        memcpy(means, values, sizeof means);
        memcpy(spreads, &high, sizeof spreads);
        for (ptrdiff_t l = 0; l < n; l++) {
            mean[c + l] = isfinite(means[l]) ? means[l] : 0;
            spread[c + l] = spreads[l];
        }
    }
}

ALWAYS_INLINE void NAME(sum)(const loop_kind kind, const bn_tensors *t, bn_extent e,
                             NAME(parameters) p, double *sum_a, double *sum_b)
{
    if (kind.step) NAME(sum_last)(kind, t, e, p, sum_a, sum_b);
    else NAME(sum_planar)(kind, t, e, p, sum_a, sum_b);
}

/* Kinds that are rare, in one loop that asks for each vector what it has to do. */
static void NAME(sum_of_rare_kind)(loop_kind kind, const bn_tensors *t, bn_extent e,
                                   NAME(parameters) p, double *sum_a, double *sum_b)
{
    NAME(sum)(kind, t, e, p, sum_a, sum_b);
}

static void NAME(stats)(bn_tensor x, bn_extent e, const void *mean, int in_double, double *sum_xm,
                        double *sum_xm_xm)
{
    const NAME(parameters) p = {.mean = mean};
    const bn_tensors t = {.x = x};
    if (in_double)
        NAME(sum_in_double)((loop_kind){.step = e.channels_last}, &t, e, p, sum_xm, sum_xm_xm);
    else if (e.channels_last) NAME(sum)((loop_kind){.step = 1}, &t, e, p, sum_xm, sum_xm_xm);
    else NAME(sum)((loop_kind){0}, &t, e, p, sum_xm, sum_xm_xm);
}

#define SUM(ACTIVATION, HAS_Y, LAST)                                                              \
    NAME(sum)(                                                                                    \
        (loop_kind){.backward = 1, .activation = ACTIVATION, .extra = HAS_Y, .step = LAST}, t, e, \
        p, sum_g, sum_g_xm)
#define SUMS(name, ACTIVATION)                                                                    \
    NEVER_INLINE void NAME(name)(int has_y, const bn_tensors *t, bn_extent e, NAME(parameters) p, \
                                 double *sum_g, double *sum_g_xm)                                 \
    {                                                                                             \
        FOR_EXTRA_AND_STEP(SUM, ACTIVATION, has_y, e.channels_last);                              \
    }
SUMS(sum_relu, BN_RELU)
SUMS(sum_leaky_relu, BN_LEAKY_RELU)
SUMS(sum_relu6, BN_RELU6)
#undef SUMS

static void NAME(reduce)(const bn_tensors *t, bn_extent e, bn_coefficients k,
                         const bn_epilogue *epilogue, int in_double, double *sum_g, double *sum_g_xm)
{
    const NAME(parameters) p = NAME(parameters_of)(k, epilogue);
    const int has_y = t->y.data != NULL, run = t->run_weight != NULL;
    const loop_kind kind = {.backward = 1,
                            .activation = epilogue->activation,
                            .extra = has_y,
                            .step = e.channels_last,
                            .run = run};
    if (in_double) {
        NAME(sum_in_double)(kind, t, e, p, sum_g, sum_g_xm);
        return;
    }
    if (run) {
        if (kind.activation) NAME(sum_of_rare_kind)(kind, t, e, p, sum_g, sum_g_xm);
        else NAME(sum)((loop_kind){.backward = 1, .run = 1}, t, e, p, sum_g, sum_g_xm);
        return;
    }
    switch (epilogue->activation) {
    case BN_NO_ACTIVATION: FOR_STEP(SUM, BN_NO_ACTIVATION, 0, e.channels_last); break;
    case BN_RELU: NAME(sum_relu)(has_y, t, e, p, sum_g, sum_g_xm); break;
    case BN_LEAKY_RELU: NAME(sum_leaky_relu)(has_y, t, e, p, sum_g, sum_g_xm); break;
    case BN_RELU6: NAME(sum_relu6)(has_y, t, e, p, sum_g, sum_g_xm); break;
    }
}
#undef SUM
