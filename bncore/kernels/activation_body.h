/* Activations that are made of the exponential function, PReLU and the logistic loss, as elementwise
   passes. Each one's formulas stand in two inlined functions: its value and its slope. Where x is
   infinite, they give the limit. */

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
    ALWAYS_INLINE void NAME(activation##_vector)(real *y, const real *x, ptrdiff_t n,             \
                                                 const option_type option)                        \
    {                                                                                             \
        NAME(write)(y, NAME(activation##_value)(NAME(read)(x, n), option), n);                    \
    }                                                                                             \
    static void NAME(activation)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end,             \
                                 const void *options)                                             \
    {                                                                                             \
        const option_type option = *(const option_type *)options;                                 \
        real *y = tensor[0];                                                                      \
        const real *x = tensor[1];                                                                \
        for (ptrdiff_t i = begin, stop; i < end;) {                                               \
            stop = bn_min(i + NAME(RUN), end);                                                    \
            NAME(prefetch)(x, stop, end);                                                         \
            NAME(prefetch)(y, stop, end);                                                         \
            for (; i + NAME(VEC) <= stop; i += NAME(VEC))                                         \
                NAME(activation##_vector)(y + i, x + i, NAME(VEC), option);                       \
            if (i < stop) NAME(activation##_vector)(y + i, x + i, stop - i, option);              \
            i = stop;                                                                             \
        }                                                                                         \
    }                                                                                             \
    ALWAYS_INLINE void NAME(activation##_dx_vector)(real *dx, const real *dy, const real *x,      \
                                                    ptrdiff_t n, const option_type option)        \
    {                                                                                             \
        const NAME(vec) slope = NAME(activation##_slope)(NAME(read)(x, n), option);               \
        NAME(write)(dx, NAME(read)(dy, n) * slope, n);                                            \
    }                                                                                             \
    static void NAME(activation##_dx)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end,        \
                                      const void *options)                                        \
    {                                                                                             \
        const option_type option = *(const option_type *)options;                                 \
        real *dx = tensor[0];                                                                     \
        const real *dy = tensor[1], *x = tensor[2];                                               \
        for (ptrdiff_t i = begin, stop; i < end;) {                                               \
            stop = bn_min(i + NAME(RUN), end);                                                    \
            NAME(prefetch)(x, stop, end);                                                         \
            NAME(prefetch)(dy, stop, end);                                                        \
            NAME(prefetch)(dx, stop, end);                                                        \
            for (; i + NAME(VEC) <= stop; i += NAME(VEC))                                         \
                NAME(activation##_dx_vector)(dx + i, dy + i, x + i, NAME(VEC), option);           \
            if (i < stop) NAME(activation##_dx_vector)(dx + i, dy + i, x + i, stop - i, option);  \
            i = stop;                                                                             \
        }                                                                                         \
    }

/* ---- GELU ---- */

ALWAYS_INLINE NAME(vec) NAME(gelu_value)(NAME(vec) x, int unused)
{
    (void)unused;
    return NAME(at_least)(x, -NAME(FARTHEST)) * NAME(normal_of)(NAME(within)(x, NAME(FARTHEST))).cdf;
}

ALWAYS_INLINE NAME(vec) NAME(gelu_slope)(NAME(vec) x, int unused)
{
    (void)unused;
    x = NAME(within)(x, NAME(FARTHEST));
    const NAME(normal) normal = NAME(normal_of)(x);
    return normal.cdf + x * normal.density;
}

/* The approximation x (1 + tanh(a / 2)) / 2, which is x / (1 + exp(-a)), where
   a = 2 sqrt(2 / pi) (x + 0.044715 x^3). Where x is twice FARTHEST, exp(-a) has become 0. */

#define TWICE_ROOT ((real)1.5957691216057308)
#define CUBIC ((real)0.044715)

ALWAYS_INLINE NAME(vec) NAME(gelu_tanh_value)(NAME(vec) x, int unused)
{
    (void)unused;
    const NAME(vec) near = NAME(within)(x, 2 * NAME(FARTHEST));
    const NAME(vec) a = TWICE_ROOT * near * (1 + CUBIC * near * near);
    return SELECT(x < 0, near, x) * NAME(logistic_of)(a).of_x;
}

ALWAYS_INLINE NAME(vec) NAME(gelu_tanh_slope)(NAME(vec) x, int unused)
{
    (void)unused;
    x = NAME(within)(x, 2 * NAME(FARTHEST));
    const NAME(vec) a = TWICE_ROOT * x * (1 + CUBIC * x * x);
    const NAME(vec) a_slope = TWICE_ROOT * (1 + 3 * CUBIC * x * x);
    const NAME(logistic) p = NAME(logistic_of)(a);
    return p.of_x + x * p.of_x * p.of_minus_x * a_slope;
}

#undef TWICE_ROOT
#undef CUBIC

/* ---- SiLU: x / (1 + exp(-x)) ---- */

ALWAYS_INLINE NAME(vec) NAME(silu_value)(NAME(vec) x, int unused)
{
    (void)unused;
    return NAME(at_least)(x, NAME(LOWEST)) * NAME(logistic_of)(x).of_x;
}

ALWAYS_INLINE NAME(vec) NAME(silu_slope)(NAME(vec) x, int unused)
{
    (void)unused;
    x = NAME(within)(x, -NAME(LOWEST));
    const NAME(logistic) p = NAME(logistic_of)(x);
    return p.of_x * (1 + x * p.of_minus_x);
}

/* ---- ELU; the option is alpha. Where x > 0, the exponential is wrong, and not selected. ---- */

ALWAYS_INLINE NAME(vec) NAME(elu_value)(NAME(vec) x, double alpha)
{
    return SELECT(x > 0, x, (real)alpha * NAME(expm1)(x));
}

ALWAYS_INLINE NAME(vec) NAME(elu_slope)(NAME(vec) x, double alpha)
{
    return SELECT(x > 0, NAME(splat)(1), (real)alpha * NAME(exp)(x));
}

/* ---- softplus: log(1 + exp(beta x)) / beta, but x where beta x is above the threshold ---- */

ALWAYS_INLINE NAME(vec) NAME(softplus_value)(NAME(vec) x, bn_softplus s)
{
    const NAME(vec) a = x * (real)s.beta;
    const NAME(vec) y = NAME(softplus_of)(a) / (real)s.beta;
    return SELECT(a > (real)s.threshold, x, y);
}

ALWAYS_INLINE NAME(vec) NAME(softplus_slope)(NAME(vec) x, bn_softplus s)
{
    const NAME(vec) a = x * (real)s.beta;
    const NAME(vec) slope = NAME(logistic_of)(a).of_x;
    return SELECT(a > (real)s.threshold, NAME(splat)(1), slope);
}

/* ---- the hard swish: 0 up to -3, x from 3 on, x (x + 3) / 6 between ---- */

ALWAYS_INLINE NAME(vec) NAME(hardswish_value)(NAME(vec) x, int unused)
{
    (void)unused;
    const NAME(vec) between = x * (x + 3) / 6;
    return ZERO_WHERE(x <= -3, SELECT(x >= 3, x, between));
}

ALWAYS_INLINE NAME(vec) NAME(hardswish_slope)(NAME(vec) x, int unused)
{
    (void)unused;
    const NAME(vec) between = x / 3 + (real)0.5;
    return ZERO_WHERE(x <= -3, SELECT(x >= 3, NAME(splat)(1), between));
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
ALWAYS_INLINE NAME(vec) NAME(weighted)(NAME(vec) a, NAME(vec) b)
{
    return ZERO_WHERE(b == 0, a * b);
}

/* The loss of x for two labels that are weighted with `negative` and `positive`, and its slope. A softplus
   is a number above 0 plus log(1 + exp(-|x|)), which both labels share. */
static void NAME(logistic_loss)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end,
                                const void *options)
{
    (void)options;
    real *loss = tensor[0], *slope = tensor[1];
    const real *x = tensor[2], *negative = tensor[3], *positive = tensor[4];
    for (ptrdiff_t i = begin; i < end; i += NAME(VEC)) {
        const ptrdiff_t count = bn_min(NAME(VEC), end - i);
        const NAME(vec) a = NAME(read)(x + i, count);
        const NAME(vec) n = NAME(read)(negative + i, count), p = NAME(read)(positive + i, count);
        const NAME(logistic) of = NAME(logistic_of)(a);
        const NAME(vec) shared = NAME(log1p)(NAME(exp)(-NAME(absolute)(a)));
        const NAME(vec) of_negative = NAME(weighted)(NAME(at_least)(a, 0), n);
        const NAME(vec) of_positive = NAME(weighted)(NAME(at_least)(-a, 0), p);
        NAME(write)(loss + i, of_negative + of_positive + (n + p) * shared, count);
        NAME(write)(slope + i, n * of.of_x - p * of.of_minus_x, count);
    }
}
