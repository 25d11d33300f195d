/* Activations that are made of the exponential function, PReLU and the logistic loss, as elementwise
   passes. Each one's formulas stand in two inlined functions: its value and its slope. Where x is
   infinite, they give the limit. */

#include "exponential_body.h"

/* These loops compute so much for each value that too few reads of later ones are under way by themselves.
   So they go over runs, and ask for the memory of the next run before they begin one. */
enum { NAME(RUN) = 256 }; /* values */

ALWAYS_INLINE void NAME(prefetch)(const real *a, ptrdiff_t begin, ptrdiff_t end)
{
    end = bn_min(end, begin + NAME(RUN));
    for (ptrdiff_t i = begin; i < end; i += BN_LINE / (ptrdiff_t)sizeof(real)) PREFETCH(a + i);
}

/* y[i] = value of x[i], and dx[i] = dy[i] * slope at x[i]. What `option` is stands at each activation. */
#define ACTIVATION_PASSES(activation, option_type)                                                \
    ALWAYS_INLINE void NAME(activation##_run)(real *restrict y, const real *restrict x,           \
                                              ptrdiff_t n, const option_type option)              \
    {                                                                                             \
        for (ptrdiff_t i = 0; i < n; i++) y[i] = NAME(activation##_value)(x[i], option);          \
    }                                                                                             \
    static void NAME(activation)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end,             \
                                 const void *options)                                             \
    {                                                                                             \
        const option_type option = *(const option_type *)options;                                 \
        real *y = tensor[0];                                                                      \
        const real *x = tensor[1];                                                                \
        for (ptrdiff_t i = begin, n; i < end; i += n) {                                           \
            n = bn_min(NAME(RUN), end - i);                                                       \
            NAME(prefetch)(x, i + n, end);                                                        \
            NAME(prefetch)(y, i + n, end);                                                        \
            NAME(activation##_run)(y + i, x + i, n, option);                                      \
        }                                                                                         \
    }                                                                                             \
    ALWAYS_INLINE void NAME(activation##_dx_run)(real *restrict dx, const real *restrict dy,      \
                                                 const real *restrict x, ptrdiff_t n,             \
                                                 const option_type option)                        \
    {                                                                                             \
        for (ptrdiff_t i = 0; i < n; i++)                                                         \
            dx[i] = dy[i] * NAME(activation##_slope)(x[i], option);                               \
    }                                                                                             \
    static void NAME(activation##_dx)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end,        \
                                      const void *options)                                        \
    {                                                                                             \
        const option_type option = *(const option_type *)options;                                 \
        real *dx = tensor[0];                                                                     \
        const real *dy = tensor[1], *x = tensor[2];                                               \
        for (ptrdiff_t i = begin, n; i < end; i += n) {                                           \
            n = bn_min(NAME(RUN), end - i);                                                       \
            NAME(prefetch)(x, i + n, end);                                                        \
            NAME(prefetch)(dy, i + n, end);                                                       \
            NAME(prefetch)(dx, i + n, end);                                                       \
            NAME(activation##_dx_run)(dx + i, dy + i, x + i, n, option);                          \
        }                                                                                         \
    }

/* ---- GELU ---- */

ALWAYS_INLINE real NAME(gelu_value)(real x, int unused)
{
    (void)unused;
    return (x < -FARTHEST ? -FARTHEST : x) * NAME(normal_of)(NAME(within)(x, FARTHEST)).cdf;
}

ALWAYS_INLINE real NAME(gelu_slope)(real x, int unused)
{
    (void)unused;
    x = NAME(within)(x, FARTHEST);
    const NAME(normal) normal = NAME(normal_of)(x);
    return normal.cdf + x * normal.density;
}

/* The approximation x (1 + tanh(a / 2)) / 2, which is x / (1 + exp(-a)), where
   a = 2 sqrt(2 / pi) (x + 0.044715 x^3). Where x is twice FARTHEST, exp(-a) has become 0. */

#define TWICE_ROOT ((real)1.5957691216057308)
#define CUBIC ((real)0.044715)

ALWAYS_INLINE real NAME(gelu_tanh_value)(real x, int unused)
{
    (void)unused;
    const real near = NAME(within)(x, 2 * FARTHEST);
    const real a = TWICE_ROOT * near * (1 + CUBIC * near * near);
    return (x < 0 ? near : x) * NAME(logistic_of)(a).of_x;
}

ALWAYS_INLINE real NAME(gelu_tanh_slope)(real x, int unused)
{
    (void)unused;
    x = NAME(within)(x, 2 * FARTHEST);
    const real a = TWICE_ROOT * x * (1 + CUBIC * x * x);
    const real a_slope = TWICE_ROOT * (1 + 3 * CUBIC * x * x);
    const NAME(logistic) p = NAME(logistic_of)(a);
    return p.of_x + x * p.of_x * p.of_minus_x * a_slope;
}

#undef TWICE_ROOT
#undef CUBIC

/* ---- SiLU: x / (1 + exp(-x)) ---- */

ALWAYS_INLINE real NAME(silu_value)(real x, int unused)
{
    (void)unused;
    return (x < LOWEST ? LOWEST : x) * NAME(logistic_of)(x).of_x;
}

ALWAYS_INLINE real NAME(silu_slope)(real x, int unused)
{
    (void)unused;
    x = NAME(within)(x, -LOWEST);
    const NAME(logistic) p = NAME(logistic_of)(x);
    return p.of_x * (1 + x * p.of_minus_x);
}

/* ---- ELU; the option is alpha ---- */

ALWAYS_INLINE real NAME(elu_value)(real x, double alpha)
{
    return x > 0 ? x : (real)alpha * NAME(expm1)(x > 0 ? 0 : x);
}

ALWAYS_INLINE real NAME(elu_slope)(real x, double alpha)
{
    return x > 0 ? 1 : (real)alpha * NAME(exp)(x > 0 ? 0 : x);
}

/* ---- softplus: log(1 + exp(beta x)) / beta, but x where beta x is above the threshold ---- */

ALWAYS_INLINE real NAME(softplus_value)(real x, bn_softplus s)
{
    const real a = x * (real)s.beta;
    const real y = NAME(softplus_of)(a) / (real)s.beta;
    return a > (real)s.threshold ? x : y;
}

ALWAYS_INLINE real NAME(softplus_slope)(real x, bn_softplus s)
{
    const real a = x * (real)s.beta;
    const real slope = NAME(logistic_of)(a).of_x;
    return a > (real)s.threshold ? 1 : slope;
}

/* ---- the hard swish: 0 up to -3, x from 3 on, x (x + 3) / 6 between ---- */

ALWAYS_INLINE real NAME(hardswish_value)(real x, int unused)
{
    (void)unused;
    const real between = x * (x + 3) / 6;
    return x >= 3 ? x : x <= -3 ? 0 : between;
}

ALWAYS_INLINE real NAME(hardswish_slope)(real x, int unused)
{
    (void)unused;
    const real between = x / 3 + (real)0.5;
    return x >= 3 ? 1 : x <= -3 ? 0 : between;
}

ACTIVATION_PASSES(gelu, int)
ACTIVATION_PASSES(gelu_tanh, int)
ACTIVATION_PASSES(silu, int)
ACTIVATION_PASSES(elu, double)
ACTIVATION_PASSES(softplus, bn_softplus)
ACTIVATION_PASSES(hardswish, int)

#undef ACTIVATION_PASSES

/* ---- PReLU ---- */

/* y = a where x > 0, else slope * a: for n values of one channel, or of one channel after the other. */
ALWAYS_INLINE void NAME(prelu_run)(real *restrict y, const real *restrict a, const real *restrict x,
                                   ptrdiff_t n, const real *restrict slope, const int step)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const real below = slope[step * i]; /* it is always read, so that no branch is needed */
        y[i] = a[i] * (x[i] > 0 ? 1 : below);
    }
}

static void NAME(prelu)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    const bn_prelu *p = options;
    real *y = tensor[0];
    const real *a = tensor[1], *x = tensor[2], *slope = p->slope;
    for (ptrdiff_t i = begin, n; i < end; i += n) {
        const ptrdiff_t channel = i / p->run % p->channels;
        if (p->run == 1) {
            n = bn_min(p->channels - channel, end - i);
            NAME(prelu_run)(y + i, a + i, x + i, n, slope + channel, 1);
        } else {
            n = bn_min(p->run - i % p->run, end - i);
            NAME(prelu_run)(y + i, a + i, x + i, n, slope + channel, 0);
        }
    }
}

/* ---- the logistic loss ---- */

/* a * b, but 0 where b is 0, be a infinite. */
ALWAYS_INLINE real NAME(weighted)(real a, real b)
{
    const real product = a * b;
    return b == 0 ? 0 : product;
}

/* The loss of x for two labels that are weighted with `negative` and `positive`, and its slope. A softplus
   is a number above 0 plus log(1 + exp(-|x|)), which both labels share. */
static void NAME(logistic_loss)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end,
                                const void *options)
{
    (void)options;
    real *restrict loss = tensor[0], *restrict slope = tensor[1];
    const real *restrict x = tensor[2], *restrict negative = tensor[3], *restrict positive = tensor[4];
    for (ptrdiff_t i = begin; i < end; i++) {
        const real a = x[i], n = negative[i], p = positive[i];
        const NAME(logistic) of = NAME(logistic_of)(a);
        const real shared = NAME(log1p)(NAME(exp)(-NAME(absolute)(a)));
        loss[i] = NAME(weighted)(a > 0 ? a : 0, n) + NAME(weighted)(a < 0 ? -a : 0, p)
                  + (n + p) * shared;
        slope[i] = n * of.of_x - p * of.of_minus_x;
    }
}

#undef LOWEST
#undef FARTHEST
