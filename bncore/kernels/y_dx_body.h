/* One pass over a chunk, value by value: with xm = x - mean,
     y = activation(xm * scale + shift (+ residual)),
     dx = (g - mean_g - xm * slope) * scale, g = dy * activation'(z), which is dresidual too. */

/* What a loop is made for, constants. */
typedef struct {
    int gradient; /* dx, else y */
    bn_activation activation;
    int extra; /* there is a residual, or a y with the sign of z */
    int step;  /* of the coefficients: 0 planar, 1 channels-last */
} NAME(form);

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

/* Where the values of a run are read and written. */
typedef struct {
    const stored *x, *dy, *extra;
    stored *out, *dresidual; /* dresidual may be NULL */
} NAME(places);

ALWAYS_INLINE NAME(places) NAME(places_at)(const NAME(form) form, const bn_views *v, ptrdiff_t r,
                                           ptrdiff_t c)
{
    NAME(places) p = {.x = ROW(v->x, r, c), .out = ROW(form.gradient ? v->dx : v->y, r, c)};
    if (form.gradient) p.dy = ROW(v->dy, r, c);
    if (form.gradient && v->dresidual.data) p.dresidual = ROW(v->dresidual, r, c);
    if (form.extra) p.extra = ROW(form.gradient ? v->y : v->residual, r, c);
    return p;
}

ALWAYS_INLINE NAME(places) NAME(places_moved)(const NAME(form) form, NAME(places) p, ptrdiff_t i)
{
    p.x += i, p.out += i;
    if (form.gradient) p.dy += i;
    if (form.gradient && p.dresidual) p.dresidual += i;
    if (form.extra) p.extra += i;
    return p;
}

/* All reads come before the writes, which may be in the place of any of them. */
ALWAYS_INLINE void NAME(apply_vec)(const NAME(form) form, NAME(places) p, ptrdiff_t n,
                                   NAME(coefficients) k, real negative)
{
    NAME(vec) xm = NAME(read)(p.x, n) - k.mean, z = xm * k.scale + k.shift;
    if (!form.gradient) {
        if (form.extra) z += NAME(read)(p.extra, n);
        if (form.activation == BN_RELU) z = CHOOSE(z < 0, NAME(splat)(0), z);
        if (form.activation == BN_LEAKY_RELU) z = CHOOSE(z < 0, z * negative, z);
        NAME(write)(p.out, z, n);
    } else {
        NAME(vec) g = NAME(read)(p.dy, n);
        if (form.extra) z = NAME(read)(p.extra, n);
        if (form.activation) g = GATE(g, z, form.activation, negative);
        if (p.dresidual) NAME(write)(p.dresidual, g, n);
        NAME(write)(p.out, (g - k.mean_g - xm * k.slope) * k.scale, n);
    }
}

/* A run of n values. (Channels-last rows taken four at a time, to share the loads of the coefficients,
   gained nothing: the caches limit this pass.) */
ALWAYS_INLINE void NAME(apply_run)(const NAME(form) form, NAME(places) p, ptrdiff_t n,
                                   NAME(channel) c, real negative)
{
    NAME(coefficients) k = NAME(coefficients_at)(c, 0, form.step);
    ptrdiff_t i = 0;
    for (; i + NAME(VEC) <= n; i += NAME(VEC)) {
        if (form.step) k = NAME(coefficients_at)(c, i, 1);
        NAME(apply_vec)(form, NAME(places_moved)(form, p, i), NAME(VEC), k, negative);
    }
    if (i == n) return;
    if (form.step) k = NAME(coefficients_at)(c, i, 1);
    NAME(apply_vec)(form, NAME(places_moved)(form, p, i), n - i, k, negative);
}

ALWAYS_INLINE void NAME(apply_chunk)(const NAME(form) form, const bn_views *v, bn_extent e,
                                     NAME(channel) k, const bn_epilogue *epilogue)
{
    output out, dresidual;
    begin(&out, epilogue->stream);
    begin(&dresidual, epilogue->stream && v->dresidual.data);
    const ptrdiff_t runs = form.step ? 1 : e.channels;
    for (ptrdiff_t r = 0; r < e.rows + (e.tail > 0); r++)
        for (ptrdiff_t c = 0; c < runs; c++) {
            const NAME(places) run = NAME(places_at)(form, v, r, c);
            for (ptrdiff_t i = 0, m, n = r < e.rows ? e.n : e.tail; i < n; i += m) {
                NAME(places) p = NAME(places_moved)(form, run, i);
                ptrdiff_t bytes = (n - i) * sizeof(stored);
                bytes = reserve(&out, p.out, bytes, (void **)&p.out);
                if (p.dresidual)
                    bytes = reserve(&dresidual, p.dresidual, bytes, (void **)&p.dresidual);
                m = bytes / sizeof(stored);
                NAME(apply_run)(form, p, m, NAME(channel_moved)(k, form.step ? i : c),
                                (real)epilogue->negative_slope);
                advance(&out, bytes);
                advance(&dresidual, bytes);
            }
        }
    finish(&out);
    finish(&dresidual);
}

/* ---- the kernels ---- */

static void NAME(normalize)(const bn_views *v, bn_extent e, bn_coefficients k,
                            const bn_epilogue *epilogue)
{
#define APPLY(ACTIVATION, ADDS, LAST)                                                             \
    NAME(apply_chunk)((NAME(form)){0, ACTIVATION, ADDS, LAST}, v, e, NAME(coefficients_of)(k),    \
                      epilogue)
    SPECIALIZE(APPLY, epilogue->activation, v->residual.data != NULL, e.channels_last)
#undef APPLY
}

static void NAME(gradient)(const bn_views *v, bn_extent e, bn_coefficients k,
                           const bn_epilogue *epilogue)
{
#define APPLY(ACTIVATION, HAS_Y, LAST)                                                            \
    NAME(apply_chunk)((NAME(form)){1, ACTIVATION, HAS_Y, LAST}, v, e, NAME(coefficients_of)(k),   \
                      epilogue)
    SPECIALIZE(APPLY, epilogue->activation, v->y.data != NULL, e.channels_last)
#undef APPLY
}
