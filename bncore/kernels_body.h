/* The mathematics, once. Included for each dtype and instruction set with
     real           the dtype of the data
     NAME(x)        the name of x for this dtype and instruction set
     EXACT_PRODUCT  1 where the product of two reals is exact in double (float32): a fused
                    multiply-add then gives the same bits as two instructions, so FUSED may fuse
   All sums are double, in BN_LANES fixed lanes that are added up in a fixed order. */

#define ROW(operand, r) ((real *)((operand).data + (r) * (operand).stride))
#define MULTIPLY_ADD(a, b, c) (EXACT_PRODUCT ? FUSED(a, b, c) : (a) * (b) + (c))

static inline double NAME(add_lanes)(double *lanes)
{
    for (int half = BN_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

/* ---- statistics: Σd and Σd² of d = x - shift ---- */

/* One step: `n` ≤ BN_LANES values into the lanes. `plain`: shift is 0 and squares are exact. */
ALWAYS_INLINE void NAME(add_squares)(const real *x, int n, const int plain, const double *shift,
                                     const int shift_step, double *s, double *q)
{
    for (int l = 0; l < n; l++) {
        double d = plain ? x[l] : x[l] - shift[l * shift_step];
        s[l] += d;
        q[l] = plain ? MULTIPLY_ADD(d, d, q[l]) : q[l] + d * d;
    }
}

/* Moments from sums over `count` values; 0 if the shift was so far from the mean that the squares
   lost more than ten bits (or something is not finite): sum again about the mean. */
static inline int NAME(to_moments)(double sum, double square, double count, double shift,
                                   bn_moments *out)
{
    double distance = sum / count, m2 = square - sum * distance;
    out->mean = shift + distance;
    out->m2 = m2 < 0 ? 0 : m2;
    return square <= 1024 * m2;
}

ALWAYS_INLINE int NAME(sum_planar)(bn_rows x, ptrdiff_t rows, ptrdiff_t n, const int plain,
                                   double shift, bn_moments *out)
{
    double s[BN_LANES] = {0}, q[BN_LANES] = {0};
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *row = ROW(x, r);
        ptrdiff_t i = 0;
        for (; i + BN_LANES <= n; i += BN_LANES)
            NAME(add_squares)(row + i, BN_LANES, plain, &shift, 0, s, q);
        NAME(add_squares)(row + i, (int)(n - i), plain, &shift, 0, s, q);
    }
    return NAME(to_moments)(NAME(add_lanes)(s), NAME(add_lanes)(q), (double)rows * (double)n,
                            shift, out);
}

static void NAME(stats_planar)(bn_rows x, ptrdiff_t rows, ptrdiff_t n, bn_moments *out)
{
    int good = EXACT_PRODUCT ? NAME(sum_planar)(x, rows, n, 1, 0, out)
                             : NAME(sum_planar)(x, rows, n, 0, *ROW(x, 0), out);
    if (!good) NAME(sum_planar)(x, rows, n, 0, out->mean, out);
}

/* One strip of `n` ≤ BN_LANES columns: their sums stay in registers over the rows. */
ALWAYS_INLINE void NAME(sum_strip)(bn_rows x, ptrdiff_t rows, ptrdiff_t column, int n,
                                   const int plain, const double *shift, double *s, double *q)
{
    double sl[BN_LANES], ql[BN_LANES];
    memcpy(sl, s + column, n * sizeof(double));
    memcpy(ql, q + column, n * sizeof(double));
    for (ptrdiff_t r = 0; r < rows; r++)
        NAME(add_squares)(ROW(x, r) + column, n, plain, shift + column, 1, sl, ql);
    memcpy(s + column, sl, n * sizeof(double));
    memcpy(q + column, ql, n * sizeof(double));
}

ALWAYS_INLINE void NAME(sum_columns)(bn_rows x, ptrdiff_t rows, ptrdiff_t n, const int plain,
                                     const double *shift, double *s, double *q)
{
    for (ptrdiff_t r = 0; r < rows; r += TILE_ROWS) {
        bn_rows tile = {x.data + r * x.stride, x.stride};
        ptrdiff_t tile_rows = rows - r < TILE_ROWS ? rows - r : TILE_ROWS, i = 0;
        for (; i + BN_LANES <= n; i += BN_LANES)
            NAME(sum_strip)(tile, tile_rows, i, BN_LANES, plain, shift, s, q);
        if (i < n) NAME(sum_strip)(tile, tile_rows, i, (int)(n - i), plain, shift, s, q);
    }
}

/* Both passes of a channels-last chunk; shift[channels] is what the sums are taken about. */
ALWAYS_INLINE int NAME(sum_last)(bn_rows x, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t tail,
                                 ptrdiff_t channels, const int plain, double *shift,
                                 bn_moments *out)
{
    double s[BN_MAX_WIDTH] = {0}, q[BN_MAX_WIDTH] = {0};
    for (ptrdiff_t i = channels; i < n; i++) shift[i] = shift[i - channels];
    NAME(sum_columns)(x, rows, n, plain, shift, s, q);
    bn_rows rest = {x.data + rows * x.stride, x.stride};
    NAME(sum_columns)(rest, tail > 0, tail, plain, shift, s, q);

    double count = (double)rows * (double)(n / channels) + (double)(tail / channels);
    int good = 1;
    for (ptrdiff_t c = 0; c < channels; c++) {
        for (ptrdiff_t i = c + channels; i < n; i += channels) {
            s[c] += s[i];
            q[c] += q[i];
        }
        good &= NAME(to_moments)(s[c], q[c], count, shift[c], out + c);
    }
    return good;
}

static void NAME(stats_last)(bn_rows x, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t tail,
                             ptrdiff_t channels, bn_moments *out)
{
    double shift[BN_MAX_WIDTH] = {0};
    if (!EXACT_PRODUCT)
        for (ptrdiff_t c = 0; c < channels; c++) shift[c] = *(ROW(x, 0) + c);
    if (NAME(sum_last)(x, rows, n, tail, channels, EXACT_PRODUCT, shift, out)) return;
    for (ptrdiff_t c = 0; c < channels; c++) shift[c] = out[c].mean;
    NAME(sum_last)(x, rows, n, tail, channels, 0, shift, out);
}

/* ---- normalize: y = (x - mean) * scale + shift ---- */

static void NAME(prepare_normalize)(const bn_channel_values *v, ptrdiff_t c,
                                    const bn_coefficients *k, ptrdiff_t at)
{
    double scale = bn_rstd(v->var[c], v->eps) * (v->weight ? v->weight[c] : 1);
    double lost = v->mean[c] - (real)v->mean[c];
    ((real *)k->mean)[at] = (real)v->mean[c];
    ((real *)k->scale)[at] = (real)scale;
    ((real *)k->shift)[at] = (real)((v->bias ? v->bias[c] : 0) - lost * scale);
}

static void NAME(normalize_planar)(bn_rows x, bn_rows y, ptrdiff_t rows, ptrdiff_t n,
                                   const bn_coefficients *k, ptrdiff_t c)
{
    const real mean = ((real *)k->mean)[c], scale = ((real *)k->scale)[c],
               shift = ((real *)k->shift)[c];
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *xr = ROW(x, r);
        real *yr = ROW(y, r);
        for (ptrdiff_t i = 0; i < n; i++) yr[i] = (xr[i] - mean) * scale + shift;
    }
}

static void NAME(normalize_last)(bn_rows x, bn_rows y, ptrdiff_t rows, ptrdiff_t n,
                                 const bn_coefficients *k, ptrdiff_t c)
{
    const real *mean = (real *)k->mean + c, *scale = (real *)k->scale + c,
               *shift = (real *)k->shift + c;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *xr = ROW(x, r);
        real *yr = ROW(y, r);
        INDEPENDENT
        for (ptrdiff_t i = 0; i < n; i++) yr[i] = (xr[i] - mean[i]) * scale[i] + shift[i];
    }
}

/* ---- backward, reduce: Σdy and Σdy·(x - mean) ---- */

ALWAYS_INLINE void NAME(add_products)(const real *dy, const real *x, int n, const real *mean,
                                      const int mean_step, double *s, double *p)
{
    for (int l = 0; l < n; l++) {
        double g = dy[l], d = (real)(x[l] - mean[l * mean_step]);
        s[l] += g;
        p[l] = MULTIPLY_ADD(g, d, p[l]);
    }
}

static void NAME(reduce_planar)(bn_rows dy, bn_rows x, ptrdiff_t rows, ptrdiff_t n, double mean,
                                bn_sums *out)
{
    const real near_mean = (real)mean;
    double s[BN_LANES] = {0}, p[BN_LANES] = {0};
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *dyr = ROW(dy, r), *xr = ROW(x, r);
        ptrdiff_t i = 0;
        for (; i + BN_LANES <= n; i += BN_LANES)
            NAME(add_products)(dyr + i, xr + i, BN_LANES, &near_mean, 0, s, p);
        NAME(add_products)(dyr + i, xr + i, (int)(n - i), &near_mean, 0, s, p);
    }
    out->dy = NAME(add_lanes)(s);
    out->dy_xmu = NAME(add_lanes)(p) - (mean - near_mean) * out->dy;
}

ALWAYS_INLINE void NAME(reduce_strip)(bn_rows dy, bn_rows x, ptrdiff_t rows, ptrdiff_t column,
                                      int n, const real *mean, double *s, double *p)
{
    double sl[BN_LANES], pl[BN_LANES];
    memcpy(sl, s + column, n * sizeof(double));
    memcpy(pl, p + column, n * sizeof(double));
    for (ptrdiff_t r = 0; r < rows; r++)
        NAME(add_products)(ROW(dy, r) + column, ROW(x, r) + column, n, mean + column, 1, sl, pl);
    memcpy(s + column, sl, n * sizeof(double));
    memcpy(p + column, pl, n * sizeof(double));
}

static void NAME(reduce_columns)(bn_rows dy, bn_rows x, ptrdiff_t rows, ptrdiff_t n,
                                 const real *mean, double *s, double *p)
{
    for (ptrdiff_t r = 0; r < rows; r += TILE_ROWS) {
        bn_rows dy_tile = {dy.data + r * dy.stride, dy.stride};
        bn_rows x_tile = {x.data + r * x.stride, x.stride};
        ptrdiff_t tile_rows = rows - r < TILE_ROWS ? rows - r : TILE_ROWS, i = 0;
        for (; i + BN_LANES <= n; i += BN_LANES)
            NAME(reduce_strip)(dy_tile, x_tile, tile_rows, i, BN_LANES, mean, s, p);
        if (i < n) NAME(reduce_strip)(dy_tile, x_tile, tile_rows, i, (int)(n - i), mean, s, p);
    }
}

static void NAME(reduce_last)(bn_rows dy, bn_rows x, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t tail,
                              ptrdiff_t channels, const double *mean, bn_sums *out)
{
    real near_mean[BN_MAX_WIDTH];
    double s[BN_MAX_WIDTH] = {0}, p[BN_MAX_WIDTH] = {0};
    for (ptrdiff_t i = 0; i < n; i++)
        near_mean[i] = i < channels ? (real)mean[i] : near_mean[i - channels];
    NAME(reduce_columns)(dy, x, rows, n, near_mean, s, p);
    bn_rows dy_rest = {dy.data + rows * dy.stride, dy.stride};
    bn_rows x_rest = {x.data + rows * x.stride, x.stride};
    NAME(reduce_columns)(dy_rest, x_rest, tail > 0, tail, near_mean, s, p);

    for (ptrdiff_t c = 0; c < channels; c++) {
        for (ptrdiff_t i = c + channels; i < n; i += channels) {
            s[c] += s[i];
            p[c] += p[i];
        }
        out[c].dy = s[c];
        out[c].dy_xmu = p[c] - (mean[c] - near_mean[c]) * s[c];
    }
}

/* ---- backward, apply: dx = (dy - shift - (x - mean) * slope) * scale ---- */

static void NAME(prepare_gradient)(const bn_channel_values *v, ptrdiff_t c,
                                   const bn_coefficients *k, ptrdiff_t at)
{
    double rstd = bn_rstd(v->var[c], v->eps), lost = v->mean[c] - (real)v->mean[c];
    double slope = v->sum_dy_xmu[c] / v->count[c] * rstd * rstd;
    double shift = v->sum_dy[c] / v->count[c] - lost * slope;
    ((real *)k->mean)[at] = (real)v->mean[c];
    ((real *)k->scale)[at] = (real)(rstd * (v->weight ? v->weight[c] : 1));
    ((real *)k->shift)[at] = (real)shift;
    ((real *)k->slope)[at] = (real)slope;
}

static void NAME(gradient_planar)(bn_rows dy, bn_rows x, bn_rows dx, ptrdiff_t rows, ptrdiff_t n,
                                  const bn_coefficients *k, ptrdiff_t c)
{
    const real mean = ((real *)k->mean)[c], scale = ((real *)k->scale)[c],
               shift = ((real *)k->shift)[c], slope = ((real *)k->slope)[c];
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *dyr = ROW(dy, r), *xr = ROW(x, r);
        real *dxr = ROW(dx, r);
        INDEPENDENT
        for (ptrdiff_t i = 0; i < n; i++)
            dxr[i] = (dyr[i] - shift - (xr[i] - mean) * slope) * scale;
    }
}

static void NAME(gradient_last)(bn_rows dy, bn_rows x, bn_rows dx, ptrdiff_t rows, ptrdiff_t n,
                                const bn_coefficients *k, ptrdiff_t c)
{
    const real *mean = (real *)k->mean + c, *scale = (real *)k->scale + c,
               *shift = (real *)k->shift + c, *slope = (real *)k->slope + c;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *dyr = ROW(dy, r), *xr = ROW(x, r);
        real *dxr = ROW(dx, r);
        INDEPENDENT
        for (ptrdiff_t i = 0; i < n; i++)
            dxr[i] = (dyr[i] - shift[i] - (xr[i] - mean[i]) * slope[i]) * scale[i];
    }
}

/* ---- the table ---- */

#define TABLE                                                                                  \
    {\
        sizeof(real), NAME(prepare_normalize), NAME(prepare_gradient), NAME(stats_planar),     \
            NAME(normalize_planar), NAME(reduce_planar), NAME(gradient_planar),                \
            NAME(stats_last), NAME(normalize_last), NAME(reduce_last), NAME(gradient_last)     \
    }
