/* The mathematics, once. Included for each dtype and instruction set with
     stored, DTYPE, BITS  the dtype of the data, its name, and its size
     real           that of the arithmetic and the coefficients
     UNPACK(v, size), PACK(v)  a vector of data (narrow or whole) as reals, and back (whole)
     EXACT_PRODUCT  1 where the product of two reals is exact in double (float32): a fused
                    multiply-add then gives the same bits as two instructions */

#define NAME(x) JOIN(x, DTYPE, ISA)
#define ROW(view, r, c) ((stored *)((view).data + (r) * (view).row + (c) * (view).channel))

#include "vector_body.h"

/* The coefficients from some channel on. A loop over values of one channel steps through them by 0,
   one over channels by 1. */
typedef struct {
    const real *mean, *scale, *shift, *mean_g, *slope;
} NAME(channel);

ALWAYS_INLINE NAME(channel) NAME(coefficients_of)(bn_coefficients k)
{
    return (NAME(channel)){k.mean, k.scale, k.shift, k.mean_g, k.slope};
}

ALWAYS_INLINE NAME(channel) NAME(channel_moved)(NAME(channel) k, ptrdiff_t c)
{
    return (NAME(channel)){k.mean + c, k.scale + c, k.shift + c, k.mean_g + c, k.slope + c};
}

/* ---- coefficients: z = (x - mean) * scale + shift, dx = (g - mean_g - (x - mean) * slope) * scale */

static void NAME(prepare_normalize)(const bn_channel_values *v, ptrdiff_t begin, ptrdiff_t end,
                                    const bn_coefficients *k)
{
    real *restrict mean = k->mean, *restrict scale = k->scale, *restrict shift = k->shift;
    for (ptrdiff_t c = begin; c < end; c++) {
        double rstd = v->var ? bn_rstd(v->var[c], v->eps) : 1; /* sums of dy need the mean only */
        double s = rstd * (v->weight ? v->weight[c] : 1);
        double lost = v->mean[c] - (real)v->mean[c];
        mean[c] = (real)v->mean[c];
        scale[c] = (real)s;
        shift[c] = (real)((v->bias ? v->bias[c] : 0) - lost * s);
    }
}

static void NAME(prepare_gradient)(const bn_channel_values *v, ptrdiff_t begin, ptrdiff_t end,
                                   const bn_coefficients *k)
{
    real *restrict mean_g = k->mean_g, *restrict slope = k->slope;
    for (ptrdiff_t c = begin; c < end; c++) {
        double rstd = bn_rstd(v->var[c], v->eps), lost = v->mean[c] - (real)v->mean[c];
        double s = v->sum_g_xm[c] / v->count[c] * rstd * rstd;
        mean_g[c] = (real)(v->sum_g[c] / v->count[c] - lost * s);
        slope[c] = (real)s;
    }
}

#include "sums_body.h"

#include "y_dx_body.h"

static const bn_kernels NAME(table) = {
    sizeof(stored),          sizeof(real),  NAME(guess_shift), NAME(prepare_normalize),
    NAME(prepare_gradient), NAME(stats), NAME(reduce),      NAME(normalize),
    NAME(gradient),
};

#undef stored
#undef BITS
#undef real
#undef EXACT_PRODUCT
#undef DTYPE
#undef UNPACK
#undef PACK
#undef NAME
#undef ROW
#undef MULTIPLY_ADD
#undef WIDEN
#undef CHOOSE
#undef GATE
