/* The mathematics, once. Included for each dtype and instruction set with
     real           the dtype of the data
     NAME(x)        the name of x for this dtype and instruction set
     EXACT_PRODUCT  1 where the product of two reals is exact in double (float32): a fused
                    multiply-add then gives the same bits as two instructions, so FUSED may fuse
   All sums are double, in BN_LANES fixed lanes that are added up in a fixed order. */

#define ROW(operand, r) ((real *)((operand).data + (r) * (operand).stride))
#define MULTIPLY_ADD(a, b, c) (EXACT_PRODUCT ? FUSED(a, b, c) : (a) * (b) + (c))
#define VALUES_OF_LINE ((int)(LINE / sizeof(real)))

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

/* ---- normalize: z = (x - mean) * scale + shift (+ residual), y = activation(z) ---- */

static void NAME(prepare_normalize)(const bn_channel_values *v, ptrdiff_t c,
                                    const bn_coefficients *k, ptrdiff_t at)
{
    double rstd = v->var ? bn_rstd(v->var[c], v->eps) : 1; /* sums of dy need the mean only */
    double scale = rstd * (v->weight ? v->weight[c] : 1);
    double lost = v->mean[c] - (real)v->mean[c];
    ((real *)k->mean)[at] = (real)v->mean[c];
    ((real *)k->scale)[at] = (real)scale;
    ((real *)k->shift)[at] = (real)((v->bias ? v->bias[c] : 0) - lost * scale);
}

/* The coefficients from channel c on. A loop over values of one channel steps through them by 0, one
   over channels by 1. */
typedef struct {
    const real *mean, *scale, *shift, *mean_g, *slope;
} NAME(channel);

static inline NAME(channel) NAME(channel_at)(const bn_coefficients *k, ptrdiff_t c)
{
    return (NAME(channel)){(real *)k->mean + c, (real *)k->scale + c, (real *)k->shift + c,
                           (real *)k->mean_g + c, (real *)k->slope + c};
}

ALWAYS_INLINE real NAME(z_at)(const real *x, ptrdiff_t i, NAME(channel) k, const int step)
{
    return (x[i] - k.mean[i * step]) * k.scale[i * step] + k.shift[i * step];
}

ALWAYS_INLINE real NAME(y_at)(const real *x, const real *residual, ptrdiff_t i, NAME(channel) k,
                              const int step, const int activation, const int adds, real negative)
{
    real z = NAME(z_at)(x, i, k, step);
    if (adds) z += residual[i];
    if (activation == BN_RELU) return z < 0 ? 0 : z;
    if (activation == BN_LEAKY_RELU) return z < 0 ? z * negative : z;
    return z;
}

ALWAYS_INLINE void NAME(normalize_row)(const real *x, const real *residual, real *y, ptrdiff_t n,
                                       NAME(channel) k, const int step, const int activation,
                                       const int adds, real negative, const int stream)
{
    ptrdiff_t i = 0, plain = stream ? values_to_line(y, n, sizeof(real)) : n;
    INDEPENDENT
    for (i = 0; i < plain; i++)
        y[i] = NAME(y_at)(x, residual, i, k, step, activation, adds, negative);
    for (i = plain; i + VALUES_OF_LINE <= n; i += VALUES_OF_LINE) {
        real line[VALUES_OF_LINE];
        for (int l = 0; l < VALUES_OF_LINE; l++)
            line[l] = NAME(y_at)(x, residual, i + l, k, step, activation, adds, negative);
        STREAM_LINE(y + i, line);
    }
    for (; i < n; i++) y[i] = NAME(y_at)(x, residual, i, k, step, activation, adds, negative);
}

ALWAYS_INLINE void NAME(normalize)(bn_rows x, bn_rows residual, bn_rows y, ptrdiff_t rows,
                                   ptrdiff_t n, NAME(channel) k, const int step,
                                   const bn_epilogue *e)
{
    const real negative = (real)e->negative_slope;
#define ROWS(activation, adds, stream)                                                            \
    for (ptrdiff_t r = 0; r < rows; r++)                                                          \
    NAME(normalize_row)(ROW(x, r), adds ? ROW(residual, r) : NULL, ROW(y, r), n, k, step,         \
                        activation, adds, negative, stream)
    SPECIALIZE(ROWS, e->activation, residual.data != NULL, e->stream)
#undef ROWS
    if (e->stream) STREAM_FENCE();
}

static void NAME(normalize_planar)(bn_rows x, bn_rows residual, bn_rows y, ptrdiff_t rows,
                                   ptrdiff_t n, const bn_coefficients *k, ptrdiff_t c,
                                   const bn_epilogue *e)
{
    NAME(normalize)(x, residual, y, rows, n, NAME(channel_at)(k, c), 0, e);
}

static void NAME(normalize_last)(bn_rows x, bn_rows residual, bn_rows y, ptrdiff_t rows,
                                 ptrdiff_t n, const bn_coefficients *k, ptrdiff_t c,
                                 const bn_epilogue *e)
{
    NAME(normalize)(x, residual, y, rows, n, NAME(channel_at)(k, c), 1, e);
}

/* ---- backward: g = dy * activation'(z) ---- */

/* y has z's sign, where it is given. */
ALWAYS_INLINE real NAME(g_at)(const real *dy, const real *x, const real *y, ptrdiff_t i,
                              NAME(channel) k, const int step, const int activation,
                              const int has_y, real negative)
{
    if (activation == BN_NO_ACTIVATION) return dy[i];
    real z = has_y ? y[i] : NAME(z_at)(x, i, k, step);
    return z > 0 ? dy[i] : activation == BN_RELU ? 0 : dy[i] * negative;
}

/* ---- backward, reduce: Σg and Σg·(x - mean) ---- */

ALWAYS_INLINE void NAME(add_products)(const real *dy, const real *x, const real *y, int n,
                                      NAME(channel) k, const int step, const int activation,
                                      const int has_y, real negative, double *s, double *p)
{
    for (int l = 0; l < n; l++) {
        double g = NAME(g_at)(dy, x, y, l, k, step, activation, has_y, negative);
        double xm = (real)(x[l] - k.mean[l * step]);
        s[l] += g;
        p[l] = MULTIPLY_ADD(g, xm, p[l]);
    }
}

ALWAYS_INLINE void NAME(reduce_runs)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n,
                                     NAME(channel) k, const int activation, const int has_y,
                                     real negative, double *s, double *p)
{
    double sl[BN_LANES] = {0}, pl[BN_LANES] = {0};
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *dy = ROW(a->dy, r), *x = ROW(a->x, r), *y = has_y ? ROW(a->y, r) : x;
        ptrdiff_t i = 0;
        for (; i + BN_LANES <= n; i += BN_LANES)
            NAME(add_products)(dy + i, x + i, y + i, BN_LANES, k, 0, activation, has_y, negative,
                               sl, pl);
        NAME(add_products)(dy + i, x + i, y + i, (int)(n - i), k, 0, activation, has_y, negative,
                           sl, pl);
    }
    *s = NAME(add_lanes)(sl);
    *p = NAME(add_lanes)(pl);
}

static void NAME(reduce_planar)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n,
                                const bn_coefficients *coefficients, ptrdiff_t c, double mean,
                                const bn_epilogue *e, bn_sums *out)
{
    const NAME(channel) k = NAME(channel_at)(coefficients, c);
    double s = 0, p = 0;
#define RUNS(activation, has_y, stream)                                                           \
    NAME(reduce_runs)(a, rows, n, k, activation, has_y, (real)e->negative_slope, &s, &p)
    SPECIALIZE(RUNS, e->activation, a->y.data != NULL, 0)
#undef RUNS
    *out = (bn_sums){s, p - (mean - *k.mean) * s};
}

/* One strip of `n` ≤ BN_LANES columns: their sums stay in registers over the rows. */
ALWAYS_INLINE void NAME(reduce_strip)(const bn_backward_rows *a, ptrdiff_t first, ptrdiff_t rows,
                                      ptrdiff_t i, int n, NAME(channel) k, const int activation,
                                      const int has_y, real negative, double *s, double *p)
{
    double sl[BN_LANES], pl[BN_LANES];
    NAME(channel) at = {k.mean + i, k.scale + i, k.shift + i, NULL, NULL};
    memcpy(sl, s + i, n * sizeof(double));
    memcpy(pl, p + i, n * sizeof(double));
    for (ptrdiff_t r = first; r < first + rows; r++)
        NAME(add_products)(ROW(a->dy, r) + i, ROW(a->x, r) + i,
                           has_y ? ROW(a->y, r) + i : ROW(a->x, r), n, at, 1, activation, has_y,
                           negative, sl, pl);
    memcpy(s + i, sl, n * sizeof(double));
    memcpy(p + i, pl, n * sizeof(double));
}

ALWAYS_INLINE void NAME(reduce_columns)(const bn_backward_rows *a, ptrdiff_t first,
                                        ptrdiff_t rows, ptrdiff_t n, NAME(channel) k,
                                        const int activation, const int has_y, real negative,
                                        double *s, double *p)
{
    for (ptrdiff_t end = first + rows; first < end; first += TILE_ROWS) {
        ptrdiff_t tile = end - first < TILE_ROWS ? end - first : TILE_ROWS, i = 0;
        for (; i + BN_LANES <= n; i += BN_LANES)
            NAME(reduce_strip)(a, first, tile, i, BN_LANES, k, activation, has_y, negative, s, p);
        if (i < n)
            NAME(reduce_strip)(a, first, tile, i, (int)(n - i), k, activation, has_y, negative, s,
                               p);
    }
}

static void NAME(reduce_last)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n,
                              ptrdiff_t tail, ptrdiff_t channels,
                              const bn_coefficients *coefficients, ptrdiff_t c,
                              const double *mean, const bn_epilogue *e, bn_sums *out)
{
    const NAME(channel) k = NAME(channel_at)(coefficients, c);
    const real negative = (real)e->negative_slope;
    double s[BN_MAX_WIDTH] = {0}, p[BN_MAX_WIDTH] = {0};
#define COLUMNS(activation, has_y, stream)                                                        \
    NAME(reduce_columns)(a, 0, rows, n, k, activation, has_y, negative, s, p);                    \
    NAME(reduce_columns)(a, rows, tail > 0, tail, k, activation, has_y, negative, s, p)
    SPECIALIZE(COLUMNS, e->activation, a->y.data != NULL, 0)
#undef COLUMNS
    for (ptrdiff_t j = 0; j < channels; j++) {
        for (ptrdiff_t i = j + channels; i < n; i += channels) {
            s[j] += s[i];
            p[j] += p[i];
        }
        out[j] = (bn_sums){s[j], p[j] - (mean[j] - k.mean[j]) * s[j]};
    }
}

/* ---- backward, apply: dx = (g - mean_g - (x - mean) * slope) * scale ---- */

static void NAME(prepare_gradient)(const bn_channel_values *v, ptrdiff_t c,
                                   const bn_coefficients *k, ptrdiff_t at)
{
    double rstd = bn_rstd(v->var[c], v->eps), lost = v->mean[c] - (real)v->mean[c];
    double slope = v->sum_g_xm[c] / v->count[c] * rstd * rstd;
    ((real *)k->mean_g)[at] = (real)(v->sum_g[c] / v->count[c] - lost * slope);
    ((real *)k->slope)[at] = (real)slope;
}

ALWAYS_INLINE real NAME(dx_at)(const real *dy, const real *x, const real *y, ptrdiff_t i,
                               NAME(channel) k, const int step, const int activation,
                               const int has_y, real negative)
{
    real g = NAME(g_at)(dy, x, y, i, k, step, activation, has_y, negative);
    return (g - k.mean_g[i * step] - (x[i] - k.mean[i * step]) * k.slope[i * step]) *
           k.scale[i * step];
}

ALWAYS_INLINE void NAME(gradient_row)(const real *dy, const real *x, const real *y, real *dx,
                                      real *dresidual, ptrdiff_t n, NAME(channel) k,
                                      const int step, const int activation, const int has_y,
                                      real negative, const int stream)
{
    ptrdiff_t i, plain = stream ? values_to_line(dx, n, sizeof(real)) : n;
    /* before dx, which may be in the place of dy; after it, dresidual may be */
    if (dresidual && dresidual != dy)
        for (i = 0; i < n; i++)
            dresidual[i] = NAME(g_at)(dy, x, y, i, k, step, activation, has_y, negative);
    INDEPENDENT
    for (i = 0; i < plain; i++)
        dx[i] = NAME(dx_at)(dy, x, y, i, k, step, activation, has_y, negative);
    for (i = plain; i + VALUES_OF_LINE <= n; i += VALUES_OF_LINE) {
        real line[VALUES_OF_LINE];
        for (int l = 0; l < VALUES_OF_LINE; l++)
            line[l] = NAME(dx_at)(dy, x, y, i + l, k, step, activation, has_y, negative);
        STREAM_LINE(dx + i, line);
    }
    for (; i < n; i++) dx[i] = NAME(dx_at)(dy, x, y, i, k, step, activation, has_y, negative);
    if (dresidual == dy)
        for (i = 0; i < n; i++)
            dresidual[i] = NAME(g_at)(dy, x, y, i, k, step, activation, has_y, negative);
}

ALWAYS_INLINE void NAME(gradient)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n,
                                  NAME(channel) k, const int step, const bn_epilogue *e)
{
    const real negative = (real)e->negative_slope;
#define ROWS(activation, has_y, stream)                                                           \
    for (ptrdiff_t r = 0; r < rows; r++)                                                          \
    NAME(gradient_row)(ROW(a->dy, r), ROW(a->x, r), has_y ? ROW(a->y, r) : NULL, ROW(a->dx, r),   \
                       a->dresidual.data ? ROW(a->dresidual, r) : NULL, n, k, step, activation,   \
                       has_y, negative, stream)
    SPECIALIZE(ROWS, e->activation, a->y.data != NULL, e->stream)
#undef ROWS
    if (e->stream) STREAM_FENCE();
}

static void NAME(gradient_planar)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n,
                                  const bn_coefficients *k, ptrdiff_t c, const bn_epilogue *e)
{
    NAME(gradient)(a, rows, n, NAME(channel_at)(k, c), 0, e);
}

static void NAME(gradient_last)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n,
                                const bn_coefficients *k, ptrdiff_t c, const bn_epilogue *e)
{
    NAME(gradient)(a, rows, n, NAME(channel_at)(k, c), 1, e);
}

/* ---- the table ---- */

#define TABLE                                                                                  \
    {                                                                                          \
        sizeof(real), NAME(prepare_normalize), NAME(prepare_gradient), NAME(stats_planar),     \
            NAME(normalize_planar), NAME(reduce_planar), NAME(gradient_planar),                \
            NAME(stats_last), NAME(normalize_last), NAME(reduce_last), NAME(gradient_last)     \
    }
