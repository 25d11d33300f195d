/* The kernels of one dtype: its coefficients here, its loops in the files that this one includes.
   Included once for each dtype, with
     DTYPE, BITS        its name and the size of its values
     stored             C's type for a value of the data
     real               the type of the arithmetic and of the coefficients
     UNPACK(v, size)    a vector of data as reals (size: narrow or whole)
     PACK(v)            a whole vector of reals as data
     NETWORKS           1 for a dtype of bn.nn, which has kernels of other layers too
     EXACT_PRODUCT      1 where the product of two reals is exact in double: then a fused
                        multiply-add gives the same bits as a multiplication and an addition */

#define NAME(x) JOIN3(x, DTYPE, ISA)

#include "vector_body.h"

/* ---- coefficients: z = (x - mean) * scale + shift, dx = (g - mean_g - (x - mean) * slope) * scale ---- */

/* What the mean loses when it is rounded to the arithmetic's dtype. */
ALWAYS_INLINE double NAME(rounding_of)(double mean) { return mean - (real)mean; }

static void NAME(prepare_normalize)(const bn_channel_values *v, ptrdiff_t begin, ptrdiff_t end,
                                    const bn_coefficients *k)
{
    real *restrict mean = k->mean, *restrict scale = k->scale, *restrict shift = k->shift;
    for (ptrdiff_t c = begin; c < end; c++) {
        double rstd = v->var ? bn_rstd(v->var[c], v->eps) : 1;
        double s = rstd * (v->weight ? v->weight[c] : 1);
        mean[c] = (real)v->mean[c];
        scale[c] = (real)s;
        shift[c] = (real)((v->bias ? v->bias[c] : 0) - NAME(rounding_of)(v->mean[c]) * s);
    }
}

static void NAME(prepare_gradient)(const bn_channel_values *v, ptrdiff_t begin, ptrdiff_t end,
                                   const bn_coefficients *k)
{
    real *restrict mean_g = k->mean_g, *restrict slope = k->slope;
    for (ptrdiff_t c = begin; c < end; c++) {
        double rstd = bn_rstd(v->var[c], v->eps);
        double s = v->sum_g_xm[c] / v->count[c] * rstd * rstd;
        mean_g[c] = (real)(v->sum_g[c] / v->count[c] - NAME(rounding_of)(v->mean[c]) * s);
        slope[c] = (real)s;
    }
}

static void NAME(correct_for_mean)(const double *mean, ptrdiff_t begin, ptrdiff_t end,
                                   const double *sum_g, double *sum_g_xm)
{
    for (ptrdiff_t c = begin; c < end; c++) sum_g_xm[c] -= NAME(rounding_of)(mean[c]) * sum_g[c];
}

/* ---- where a loop is ---- */

/* In each tensor; `extra` is the residual forward, y backward, and `out` is y or dx. Pointers that a
   kind of loop does not use are not set. */
typedef struct {
    const stored *x, *dy, *extra;
    stored *out, *dresidual; /* dresidual may be NULL */
} NAME(cursor);

ALWAYS_INLINE stored *NAME(row_of)(bn_tensor t, ptrdiff_t r, ptrdiff_t c)
{
    return (stored *)(t.data + r * t.row_stride + c * t.channel_stride);
}

ALWAYS_INLINE NAME(cursor) NAME(cursor_at)(const loop_kind kind, const bn_tensors *t, ptrdiff_t r,
                                           ptrdiff_t c)
{
    NAME(cursor) at = {.x = NAME(row_of)(t->x, r, c)};
    if (kind.backward) at.dy = NAME(row_of)(t->dy, r, c);
    if (kind.extra) at.extra = NAME(row_of)(kind.backward ? t->y : t->residual, r, c);
    return at;
}

ALWAYS_INLINE NAME(cursor) NAME(cursor_moved)(const loop_kind kind, NAME(cursor) at, ptrdiff_t values)
{
    at.x += values;
    if (kind.backward) at.dy += values;
    if (kind.extra) at.extra += values;
    return at;
}

/* In the per-channel vectors. */
typedef struct {
    const double *offset;
    const real *mean, *scale, *shift, *mean_g, *slope;
    real negative_slope; /* of the activation; the same for all channels */
} NAME(parameters);

ALWAYS_INLINE NAME(parameters) NAME(parameters_of)(bn_coefficients k, const bn_epilogue *epilogue)
{
    return (NAME(parameters)){.mean = k.mean,
                              .scale = k.scale,
                              .shift = k.shift,
                              .mean_g = k.mean_g,
                              .slope = k.slope,
                              .negative_slope = (real)epilogue->negative_slope};
}

ALWAYS_INLINE NAME(parameters) NAME(parameters_moved)(NAME(parameters) p, ptrdiff_t c)
{
    p.offset += c;
    p.mean += c, p.scale += c, p.shift += c, p.mean_g += c, p.slope += c;
    return p;
}

#include "sums_body.h"

#include "y_dx_body.h"

#if NETWORKS
#include "conv_body.h"

#include "pool_body.h"

#include "elementwise_body.h"
#endif

static const bn_kernels NAME(table) = {
    .itemsize = sizeof(stored),
    .realsize = sizeof(real),
    .guess_offset = NAME(guess_offset),
    .prepare_normalize = NAME(prepare_normalize),
    .prepare_gradient = NAME(prepare_gradient),
    .stats = NAME(stats),
    .reduce = NAME(reduce),
    .correct_for_mean = NAME(correct_for_mean),
    .normalize = NAME(normalize),
    .gradient = NAME(gradient),
#if NETWORKS
    .convolution = &NAME(conv_table),
    .pooling = &NAME(pool_table),
    .elementwise = &NAME(elementwise_table),
#endif
};

#undef DTYPE
#undef stored
#undef BITS
#undef real
#undef NETWORKS
#undef EXACT_PRODUCT
#undef UNPACK
#undef PACK
#undef NAME
