/* The kernels of one dtype: its coefficients here, its loops in the files that this one includes.
   Included once for each dtype, with
     DTYPE, BITS        its name and the size of its values
     stored             C's type for a value of the data
     real               the type of the arithmetic and of the coefficients
     UNPACK(v)          a vector of data as reals
     PACK(v)            a vector of reals as data
     NETWORKS           1 for a dtype of bn.nn, which has kernels of other layers too */

#define NAME(x) JOIN3(x, DTYPE, ISA)

#include "vector_body.h"

/* ---- coefficients: z = xm * scale + shift, dx = (g - mean_g - xm * slope) * scale ---- */

/* What the mean loses when it is rounded to the arithmetic's dtype. */
ALWAYS_INLINE double NAME(rounding_of)(double mean) { return mean - (real)mean; }

/* do_channel(values, k, channel, statistic, parameter) for channels `begin` to `end`. In the common case,
   where each channel has its own of both, the loop can be vectorized. */
#define FOR_CHANNELS(v, k, begin, end, do_channel)                                                \
    do {                                                                                          \
        if (v->span == 1 && v->parameters >= end)                                                 \
            for (ptrdiff_t c = begin; c < end; c++) do_channel(v, k, c, c, c);                    \
        else                                                                                      \
            for (ptrdiff_t c = begin; c < end; c++)                                               \
                do_channel(v, k, c, c / v->span, c % v->parameters);                              \
    } while (0)

typedef struct {
    real *restrict mean, *restrict scale, *restrict shift, *restrict mean_g, *restrict slope;
    real *restrict weight, *restrict factor;
} NAME(prepared);

ALWAYS_INLINE void NAME(prepare_y)(const bn_channel_values *v, const NAME(prepared) k, ptrdiff_t c,
                                   ptrdiff_t s, ptrdiff_t p)
{
    const double rstd = v->var ? bn_rstd(v->var[s], v->eps) : 1;
    const double scale = rstd * (v->weight ? v->weight[p] : 1);
    k.mean[c] = (real)v->mean[s];
    k.scale[c] = (real)scale;
    k.shift[c] = (real)((v->bias ? v->bias[p] : 0) - NAME(rounding_of)(v->mean[s]) * scale);
}

ALWAYS_INLINE void NAME(prepare_dx)(const bn_channel_values *v, const NAME(prepared) k, ptrdiff_t c,
                                    ptrdiff_t s, ptrdiff_t p)
{
    (void)p;
    const double rstd = bn_rstd(v->var[s], v->eps);
    const double slope = v->sum_g_xm[s] / v->count[s] * rstd * rstd;
    k.mean_g[c] = (real)(v->sum_g[s] / v->count[s] - NAME(rounding_of)(v->mean[s]) * slope);
    k.slope[c] = (real)slope;
}

ALWAYS_INLINE void NAME(prepare_weighted_dx)(const bn_channel_values *v, const NAME(prepared) k,
                                             ptrdiff_t c, ptrdiff_t s, ptrdiff_t p)
{
    NAME(prepare_dx)(v, k, c, s, p);
    k.weight[c] = (real)(v->weight ? v->weight[p] : 1);
    k.factor[c] = (real)bn_rstd(v->var[s], v->eps);
}

ALWAYS_INLINE NAME(prepared) NAME(prepared_in)(const bn_coefficients *k)
{
    return (NAME(prepared)){k->mean,  k->scale,  k->shift, k->mean_g,
                            k->slope, k->weight, k->factor};
}

static void NAME(prepare_normalize)(const bn_channel_values *v, ptrdiff_t begin, ptrdiff_t end,
                                    const bn_coefficients *k)
{
    const NAME(prepared) prepared = NAME(prepared_in)(k);
    FOR_CHANNELS(v, prepared, begin, end, NAME(prepare_y));
}

static void NAME(prepare_gradient)(const bn_channel_values *v, ptrdiff_t begin, ptrdiff_t end,
                                   const bn_coefficients *k)
{
    const NAME(prepared) prepared = NAME(prepared_in)(k);
    if (k->weight) FOR_CHANNELS(v, prepared, begin, end, NAME(prepare_weighted_dx));
    else FOR_CHANNELS(v, prepared, begin, end, NAME(prepare_dx));
}

static void NAME(correct_for_mean)(const bn_channel_values *v, ptrdiff_t begin, ptrdiff_t end,
                                   const double *sum_g, double *sum_g_xm)
{
    for (ptrdiff_t c = begin; c < end; c++)
        sum_g_xm[c] -= NAME(rounding_of)(v->mean[v->span == 1 ? c : c / v->span]) * sum_g[c];
}

#undef FOR_CHANNELS

/* ---- where a loop is ---- */

/* In each tensor; `extra` is the residual forward, y backward, and `out` is y or dx. Pointers that a
   kind of loop does not use are not set. */
typedef struct {
    const stored *x, *dy, *extra;
    stored *out, *dresidual; /* dresidual may be NULL */
    const real *weight, *bias; /* of the run */
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
    if (kind.run) at.weight = t->run_weight, at.bias = t->run_bias;
    return at;
}

ALWAYS_INLINE NAME(cursor) NAME(cursor_moved)(const loop_kind kind, NAME(cursor) at, ptrdiff_t values)
{
    at.x += values;
    if (kind.backward) at.dy += values;
    if (kind.extra) at.extra += values;
    if (kind.run) at.weight += values, at.bias += values;
    return at;
}

ALWAYS_INLINE stored *NAME(moved_by)(const stored *place, ptrdiff_t bytes)
{
    return (stored *)((char *)place + bytes);
}

ALWAYS_INLINE NAME(cursor) NAME(next_row)(const loop_kind kind, const bn_tensors *t, NAME(cursor) at)
{
    at.x = NAME(moved_by)(at.x, t->x.row_stride);
    if (kind.backward) at.dy = NAME(moved_by)(at.dy, t->dy.row_stride);
    if (kind.extra)
        at.extra = NAME(moved_by)(at.extra, (kind.backward ? t->y : t->residual).row_stride);
    return at;
}

/* In the per-channel vectors. */
typedef struct {
    const real *mean, *scale, *shift, *mean_g, *slope, *weight, *factor;
    real negative_slope; /* of the activation; the same for all channels */
} NAME(parameters);

ALWAYS_INLINE NAME(parameters) NAME(parameters_of)(bn_coefficients k, const bn_epilogue *epilogue)
{
    return (NAME(parameters)){.mean = k.mean,
                              .scale = k.scale,
                              .shift = k.shift,
                              .mean_g = k.mean_g,
                              .slope = k.slope,
                              .weight = k.weight,
                              .factor = k.factor,
                              .negative_slope = (real)epilogue->negative_slope};
}

ALWAYS_INLINE NAME(parameters) NAME(parameters_moved)(NAME(parameters) p, ptrdiff_t c)
{
    p.mean += c, p.scale += c, p.shift += c, p.mean_g += c, p.slope += c, p.weight += c, p.factor += c;
    return p;
}

/* The values of a channel, or, channels-last, of the first columns. */
ALWAYS_INLINE NAME(vec) NAME(values_of)(const loop_kind kind, const real *values)
{
    return kind.step ? NAME(load)(values) : NAME(splat)(*values);
}

/* What the residual is added to, and what is activated. */
ALWAYS_INLINE NAME(vec) NAME(z_of)(const loop_kind kind, NAME(vec) xm, NAME(vec) scale,
                                   NAME(vec) shift, NAME(cursor) at)
{
    const NAME(vec) z = xm * scale + shift;
    return kind.run ? z * NAME(load)(at.weight) + NAME(load)(at.bias) : z;
}

#include "sums_body.h"

#include "y_dx_body.h"

#include "run_gradients_body.h"

#if NETWORKS
#include "conv_body.h"

#include "pool_body.h"

#include "resample_body.h"

#include "exponential_body.h"

#include "elementwise_body.h"

#include "recurrent_body.h"
#endif

static const bn_kernels NAME(table) = {
    .itemsize = sizeof(stored),
    .realsize = sizeof(real),
    .guess_mean = NAME(guess_mean),
    .prepare_normalize = NAME(prepare_normalize),
    .prepare_gradient = NAME(prepare_gradient),
    .stats = NAME(stats),
    .reduce = NAME(reduce),
    .add_run_gradients = NAME(add_run_gradients),
    .correct_for_mean = NAME(correct_for_mean),
    .normalize = NAME(normalize),
    .gradient = NAME(gradient),
#if NETWORKS
    .convolution = &NAME(conv_table),
    .pooling = &NAME(pool_table),
    .resampling = &NAME(resample_table),
    .elementwise = &NAME(elementwise_table),
    .recurrent = &NAME(recurrent_table),
#endif
};

#undef DTYPE
#undef stored
#undef BITS
#undef real
#undef NETWORKS
#undef UNPACK
#undef PACK
#undef NAME
