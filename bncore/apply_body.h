/* One pass over a chunk, value by value: y, or dx and dresidual. */

/* Coefficients of a vector's values. */
typedef struct {
    NAME(vec) mean, scale, shift, mean_g, slope;
} NAME(coefficients);

ALWAYS_INLINE NAME(coefficients) NAME(coefficients_at)(NAME(channel) k, ptrdiff_t i, const int step)
{
    if (step)
        return (NAME(coefficients)){NAME(load)(k.mean + i), NAME(load)(k.scale + i),
                                    NAME(load)(k.shift + i), NAME(load)(k.mean_g + i),
                                    NAME(load)(k.slope + i)};
    return (NAME(coefficients)){NAME(splat)(*k.mean), NAME(splat)(*k.scale), NAME(splat)(*k.shift),
                                NAME(splat)(*k.mean_g), NAME(splat)(*k.slope)};
}

/* What the loops are made for, constants. */
typedef struct {
    bn_activation activation;
    int extra; /* there is a residual, or a y */
    int step;  /* of the coefficients: 0 planar, 1 channels-last */
} NAME(form);

/* Vectors of a run; n of their values, all or the first ones. */
ALWAYS_INLINE NAME(vec) NAME(read)(const real *x, ptrdiff_t n)
{
    return n == NAME(VEC) ? NAME(load)(x) : NAME(load_part)(x, n);
}

ALWAYS_INLINE void NAME(write)(real *y, NAME(vec) v, ptrdiff_t n)
{
    if (n == NAME(VEC)) NAME(store)(y, v);
    else NAME(store_part)(y, v, n);
}

/* ---- y = activation((x - mean) * scale + shift (+ residual)) ---- */

ALWAYS_INLINE void NAME(normalize_vec)(const NAME(form) form, const real *x, const real *residual,
                                       real *y, ptrdiff_t n, NAME(coefficients) k, real negative)
{
    NAME(vec) z = (NAME(read)(x, n) - k.mean) * k.scale + k.shift;
    if (form.extra) z += NAME(read)(residual, n);
    if (form.activation == BN_RELU) z = CHOOSE(z < 0, NAME(splat)(0), z);
    if (form.activation == BN_LEAKY_RELU) z = CHOOSE(z < 0, z * negative, z);
    NAME(write)(y, z, n);
}

ALWAYS_INLINE void NAME(normalize_run)(const NAME(form) form, const real *x, const real *residual,
                                       real *y, ptrdiff_t n, NAME(channel) c, real negative)
{
    NAME(coefficients) k = NAME(coefficients_at)(c, 0, form.step);
    ptrdiff_t i = 0;
    for (; i + NAME(VEC) <= n; i += NAME(VEC)) {
        if (form.step) k = NAME(coefficients_at)(c, i, 1);
        NAME(normalize_vec)(form, x + i, residual + i, y + i, NAME(VEC), k, negative);
    }
    if (i == n) return;
    if (form.step) k = NAME(coefficients_at)(c, i, 1);
    NAME(normalize_vec)(form, x + i, residual + i, y + i, n - i, k, negative);
}

ALWAYS_INLINE void NAME(normalize_chunk)(const NAME(form) form, const bn_views *v, bn_extent e,
                                         NAME(channel) k, const bn_epilogue *epilogue)
{
    output out;
    begin(&out, epilogue->stream);
    const ptrdiff_t runs = form.step ? 1 : e.channels;
    for (ptrdiff_t r = 0; r < e.rows + (e.tail > 0); r++)
        for (ptrdiff_t c = 0; c < runs; c++) {
            const real *x = ROW(v->x, r, c), *residual = form.extra ? ROW(v->residual, r, c) : x;
            real *y = ROW(v->y, r, c), *at;
            for (ptrdiff_t i = 0, m, n = r < e.rows ? e.n : e.tail; i < n; i += m) {
                m = reserve(&out, y + i, (n - i) * sizeof(real), (void **)&at) / sizeof(real);
                NAME(normalize_run)(form, x + i, residual + i, at, m,
                                    NAME(channel_moved)(k, form.step ? i : c),
                                    (real)epilogue->negative_slope);
                advance(&out, m * sizeof(real));
            }
        }
    finish(&out);
}

static void NAME(normalize)(const bn_views *v, bn_extent e, bn_coefficients k,
                            const bn_epilogue *epilogue)
{
#define NORMALIZE(ACTIVATION, ADDS, LAST)                                                         \
    NAME(normalize_chunk)((NAME(form)){ACTIVATION, ADDS, LAST}, v, e, NAME(coefficients_of)(k),        \
                          epilogue)
    SPECIALIZE(NORMALIZE, epilogue->activation, v->residual.data != NULL, e.channels_last)
#undef NORMALIZE
}

/* ---- dx = (g - mean_g - (x - mean) * slope) * scale, g = dy * activation'(z) ---- */

typedef struct {
    const real *dy, *x, *y;
    real *dx, *dresidual; /* which may be NULL */
} NAME(gradients);

ALWAYS_INLINE void NAME(gradient_vec)(const NAME(form) form, NAME(gradients) a, ptrdiff_t i,
                                      ptrdiff_t n, NAME(coefficients) k, real negative)
{
    NAME(vec) xm = NAME(read)(a.x + i, n) - k.mean, g = NAME(read)(a.dy + i, n);
    if (form.activation) {
        NAME(vec) z = form.extra ? NAME(read)(a.y + i, n) : xm * k.scale + k.shift;
        g = GATE(g, z, form.activation, negative);
    }
    if (a.dresidual) NAME(write)(a.dresidual + i, g, n);
    NAME(write)(a.dx + i, (g - k.mean_g - xm * k.slope) * k.scale, n);
}

ALWAYS_INLINE void NAME(gradient_run)(const NAME(form) form, NAME(gradients) a, ptrdiff_t n,
                                      NAME(channel) c, real negative)
{
    NAME(coefficients) k = NAME(coefficients_at)(c, 0, form.step);
    ptrdiff_t i = 0;
    for (; i + NAME(VEC) <= n; i += NAME(VEC)) {
        if (form.step) k = NAME(coefficients_at)(c, i, 1);
        NAME(gradient_vec)(form, a, i, NAME(VEC), k, negative);
    }
    if (i == n) return;
    if (form.step) k = NAME(coefficients_at)(c, i, 1);
    NAME(gradient_vec)(form, a, i, n - i, k, negative);
}

ALWAYS_INLINE void NAME(gradient_chunk)(const NAME(form) form, const bn_views *v, bn_extent e,
                                        NAME(channel) k, const bn_epilogue *epilogue)
{
    output dx, dresidual;
    begin(&dx, epilogue->stream);
    begin(&dresidual, epilogue->stream && v->dresidual.data);
    const ptrdiff_t runs = form.step ? 1 : e.channels;
    for (ptrdiff_t r = 0; r < e.rows + (e.tail > 0); r++)
        for (ptrdiff_t c = 0; c < runs; c++)
            for (ptrdiff_t i = 0, m, n = r < e.rows ? e.n : e.tail; i < n; i += m) {
                NAME(gradients) a = {ROW(v->dy, r, c) + i, ROW(v->x, r, c) + i,
                                     form.extra ? ROW(v->y, r, c) + i : NULL, NULL, NULL};
                ptrdiff_t bytes = (n - i) * sizeof(real);
                bytes = reserve(&dx, ROW(v->dx, r, c) + i, bytes, (void **)&a.dx);
                if (v->dresidual.data)
                    bytes = reserve(&dresidual, ROW(v->dresidual, r, c) + i, bytes,
                                    (void **)&a.dresidual);
                m = bytes / sizeof(real);
                NAME(gradient_run)(form, a, m, NAME(channel_moved)(k, form.step ? i : c),
                                   (real)epilogue->negative_slope);
                advance(&dx, bytes);
                advance(&dresidual, bytes);
            }
    finish(&dx);
    finish(&dresidual);
}

static void NAME(gradient)(const bn_views *v, bn_extent e, bn_coefficients k,
                           const bn_epilogue *epilogue)
{
#define GRADIENT(ACTIVATION, HAS_Y, LAST)                                                         \
    NAME(gradient_chunk)((NAME(form)){ACTIVATION, HAS_Y, LAST}, v, e, NAME(coefficients_of)(k),        \
                         epilogue)
    SPECIALIZE(GRADIENT, epilogue->activation, v->y.data != NULL, e.channels_last)
#undef GRADIENT
}
