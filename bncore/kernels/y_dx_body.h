/* The pass that writes: y = activation(xm * scale + shift (+ residual)) with xm = x - mean, or
   dx = (g - mean_g - xm * slope) * scale with g = dy * activation'(z), which is dresidual too. */

/* The coefficients of a vector's values. */
typedef struct {
    NAME(vec) mean, scale, shift, mean_g, slope, weight, factor;
} NAME(coefficients);

ALWAYS_INLINE NAME(coefficients) NAME(coefficients_at)(const loop_kind kind, NAME(parameters) p)
{
    NAME(coefficients) k = {.mean = NAME(values_of)(kind, p.mean),
                            .scale = NAME(values_of)(kind, p.scale),
                            .shift = NAME(values_of)(kind, p.shift)};
    if (kind.backward) {
        k.mean_g = NAME(values_of)(kind, p.mean_g);
        k.slope = NAME(values_of)(kind, p.slope);
    }
    if (kind.grouped) {
        k.weight = NAME(values_of)(kind, p.weight);
        k.factor = NAME(values_of)(kind, p.factor);
    }
    return k;
}

ALWAYS_INLINE NAME(cursor) NAME(output_cursor_at)(const loop_kind kind, const bn_tensors *t,
                                                  ptrdiff_t r, ptrdiff_t c)
{
    NAME(cursor) at = NAME(cursor_at)(kind, t, r, c);
    at.out = NAME(row_of)(kind.backward ? t->dx : t->y, r, c);
    if (kind.backward && t->dresidual.data) at.dresidual = NAME(row_of)(t->dresidual, r, c);
    return at;
}

ALWAYS_INLINE NAME(cursor) NAME(output_cursor_moved)(const loop_kind kind, NAME(cursor) at,
                                                     ptrdiff_t values)
{
    at = NAME(cursor_moved)(kind, at, values);
    at.out += values;
    if (kind.backward && at.dresidual) at.dresidual += values;
    return at;
}

ALWAYS_INLINE NAME(cursor) NAME(next_channel)(const loop_kind kind, const bn_tensors *t,
                                              NAME(cursor) at)
{
    at.x = NAME(moved_by)(at.x, t->x.channel_stride);
    if (kind.backward) at.dy = NAME(moved_by)(at.dy, t->dy.channel_stride);
    if (kind.extra)
        at.extra = NAME(moved_by)(at.extra, (kind.backward ? t->y : t->residual).channel_stride);
    at.out = NAME(moved_by)(at.out, (kind.backward ? t->dx : t->y).channel_stride);
    if (kind.backward && at.dresidual)
        at.dresidual = NAME(moved_by)(at.dresidual, t->dresidual.channel_stride);
    return at;
}

/* The first n values of a vector. All reads come before the writes, because an output may be the same
   memory as an input. */
ALWAYS_INLINE void NAME(apply_vec)(const loop_kind kind, NAME(cursor) at, ptrdiff_t n,
                                   NAME(coefficients) k, real negative_slope)
{
    const NAME(vec) xm = NAME(read)(at.x, n) - k.mean;
    NAME(vec) z = NAME(z_of)(kind, xm, k.scale, k.shift, at);
    if (!kind.backward) {
        if (kind.extra) z += NAME(read)(at.extra, n);
        NAME(write)(at.out, NAME(activated)(z, kind.activation, negative_slope), n);
    } else {
        NAME(vec) g = NAME(read)(at.dy, n);
        if (kind.extra) z = NAME(read)(at.extra, n);
        if (kind.activation) g = NAME(gate)(g, z, kind.activation, negative_slope);
        if (at.dresidual) NAME(write)(at.dresidual, g, n);
        if (kind.run) g *= NAME(load)(at.weight);
        if (kind.grouped) g *= k.weight;
        const NAME(vec) factor = kind.grouped ? k.factor : k.scale;
        NAME(write)(at.out, (g - k.mean_g - xm * k.slope) * factor, n);
    }
}

/* A run of n values. Taking four channels-last rows at a time, to share the loads of the coefficients,
   gained nothing: the caches limit this pass. */
ALWAYS_INLINE void NAME(apply_run)(const loop_kind kind, NAME(cursor) at, ptrdiff_t n,
                                   NAME(parameters) p)
{
    NAME(coefficients) k = NAME(coefficients_at)(kind, p);
    ptrdiff_t i = 0;
    for (; i + NAME(VEC) <= n; i += NAME(VEC)) {
        if (kind.step) k = NAME(coefficients_at)(kind, NAME(parameters_moved)(p, i));
        NAME(apply_vec)(kind, NAME(output_cursor_moved)(kind, at, i), NAME(VEC), k,
                        p.negative_slope);
    }
    if (i == n) return;
    if (kind.step) k = NAME(coefficients_at)(kind, NAME(parameters_moved)(p, i));
    NAME(apply_vec)(kind, NAME(output_cursor_moved)(kind, at, i), n - i, k, p.negative_slope);
}

ALWAYS_INLINE void NAME(apply_chunk)(const loop_kind kind, const bn_tensors *t, bn_extent e,
                                     NAME(parameters) p, int stream)
{
    output out, dresidual;
    output_begin(&out, stream);
    output_begin(&dresidual, stream && t->dresidual.data);
    const ptrdiff_t runs = kind.step ? 1 : e.channels;
    for (ptrdiff_t r = 0; r < e.rows + (e.tail > 0); r++) {
        NAME(cursor) run = NAME(output_cursor_at)(kind, t, r, 0);
        for (ptrdiff_t c = 0; c < runs; c++, run = NAME(next_channel)(kind, t, run)) {
            for (ptrdiff_t i = 0, m, n = r < e.rows ? e.n : e.tail; i < n; i += m) {
                NAME(cursor) at = NAME(output_cursor_moved)(kind, run, i);
                ptrdiff_t bytes = (n - i) * sizeof(stored);
                bytes = output_reserve(&out, at.out, bytes, (void **)&at.out);
                if (at.dresidual)
                    bytes = output_reserve(&dresidual, at.dresidual, bytes, (void **)&at.dresidual);
                m = bytes / sizeof(stored);
                NAME(apply_run)(kind, at, m, NAME(parameters_moved)(p, kind.step ? i : c));
                output_advance(&out, bytes);
                output_advance(&dresidual, bytes);
            }
        }
    }
    output_end(&out);
    output_end(&dresidual);
}

/* Kinds that are rare, in one loop that asks for each vector what it has to do. */
static void NAME(apply_rare_kind)(loop_kind kind, const bn_tensors *t, bn_extent e,
                                  NAME(parameters) p, int stream)
{
    NAME(apply_chunk)(kind, t, e, p, stream);
}

/* ---- the loops of each activation ---- */

#define APPLY(ACTIVATION, EXTRA, LAST)                                                            \
    NAME(apply_chunk)(                                                                            \
        (loop_kind){.backward = backward, .activation = ACTIVATION, .extra = EXTRA, .step = LAST}, \
        t, e, p, stream)
#define LOOPS(name, BACKWARD, ACTIVATION, EXTRA)                                                  \
    NEVER_INLINE void NAME(name)(int extra, const bn_tensors *t, bn_extent e, NAME(parameters) p, \
                                 int stream)                                                      \
    {                                                                                             \
        const int backward = BACKWARD;                                                            \
        FOR_EXTRA_AND_STEP(APPLY, ACTIVATION, EXTRA, e.channels_last);                            \
    }
LOOPS(y_plain, 0, BN_NO_ACTIVATION, extra)
LOOPS(y_relu, 0, BN_RELU, extra)
LOOPS(y_leaky_relu, 0, BN_LEAKY_RELU, extra)
LOOPS(y_relu6, 0, BN_RELU6, extra)
LOOPS(dx_plain, 1, BN_NO_ACTIVATION, 0 && extra)
LOOPS(dx_relu, 1, BN_RELU, extra)
LOOPS(dx_leaky_relu, 1, BN_LEAKY_RELU, extra)
LOOPS(dx_relu6, 1, BN_RELU6, extra)
#undef LOOPS
#undef APPLY

/* ---- the kernels ---- */

static void NAME(normalize)(const bn_tensors *t, bn_extent e, bn_coefficients k,
                            const bn_epilogue *epilogue)
{
    const NAME(parameters) p = NAME(parameters_of)(k, epilogue);
    const int adds = t->residual.data != NULL;
    if (t->run_weight) {
        const loop_kind kind = {.activation = epilogue->activation, .extra = adds, .run = 1};
        if (kind.activation || adds) NAME(apply_rare_kind)(kind, t, e, p, epilogue->stream);
        else NAME(apply_chunk)((loop_kind){.run = 1}, t, e, p, epilogue->stream);
        return;
    }
    switch (epilogue->activation) {
    case BN_NO_ACTIVATION: NAME(y_plain)(adds, t, e, p, epilogue->stream); break;
    case BN_RELU: NAME(y_relu)(adds, t, e, p, epilogue->stream); break;
    case BN_LEAKY_RELU: NAME(y_leaky_relu)(adds, t, e, p, epilogue->stream); break;
    case BN_RELU6: NAME(y_relu6)(adds, t, e, p, epilogue->stream); break;
    }
}

static void NAME(gradient)(const bn_tensors *t, bn_extent e, bn_coefficients k,
                           const bn_epilogue *epilogue)
{
    const NAME(parameters) p = NAME(parameters_of)(k, epilogue);
    const int has_y = t->y.data != NULL, run = t->run_weight != NULL, grouped = k.weight != NULL;
    if (run || grouped) {
        const loop_kind kind = {.backward = 1,
                                .activation = epilogue->activation,
                                .extra = has_y,
                                .step = e.channels_last,
                                .run = run,
                                .grouped = grouped};
#define APPLY(...) NAME(apply_chunk)((loop_kind){.backward = 1, __VA_ARGS__}, t, e, p, epilogue->stream)
        if (kind.activation) NAME(apply_rare_kind)(kind, t, e, p, epilogue->stream);
        else if (run) APPLY(.run = 1);
        else if (kind.step) APPLY(.grouped = 1, .step = 1);
        else APPLY(.grouped = 1);
#undef APPLY
        return;
    }
    switch (epilogue->activation) {
    case BN_NO_ACTIVATION: NAME(dx_plain)(0, t, e, p, epilogue->stream); break;
    case BN_RELU: NAME(dx_relu)(has_y, t, e, p, epilogue->stream); break;
    case BN_LEAKY_RELU: NAME(dx_leaky_relu)(has_y, t, e, p, epilogue->stream); break;
    case BN_RELU6: NAME(dx_relu6)(has_y, t, e, p, epilogue->stream); break;
    }
}
