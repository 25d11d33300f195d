/* Gradients of a weight and a bias that each run has: sums over the channels of a chunk, for each value of
   a run. As in the other sums, only a few values are added in the arithmetic's dtype in a row. */

/* What channel c adds, for the first n values of a vector. */
ALWAYS_INLINE NAME(pair) NAME(run_pair)(const loop_kind kind, NAME(cursor) at, NAME(parameters) p,
                                        ptrdiff_t n)
{
    const NAME(vec) xm = NAME(read)(at.x, n) - *p.mean;
    const NAME(vec) g = NAME(read_g)(kind, at, p, n, xm);
    return (NAME(pair)){g * (xm * *p.scale + *p.shift), g};
}

/* Columns `column` to `column` + n, at most a strip, of all channels. */
ALWAYS_INLINE void NAME(add_strip_of_runs)(const loop_kind kind, const bn_tensors *t, bn_extent e,
                                           NAME(parameters) p, ptrdiff_t column, ptrdiff_t n,
                                           double *dweight, double *dbias)
{
    for (ptrdiff_t first = 0; first < e.channels; first += BN_RUN_CHANNELS) {
        const ptrdiff_t last = bn_min(first + BN_RUN_CHANNELS, e.channels);
        NAME(pair) sums[SUM_VECTORS] = {0};
        for (ptrdiff_t c = first; c < last; c++) {
            const NAME(cursor) run = NAME(cursor_moved)(kind, NAME(cursor_at)(kind, t, 0, c), column);
            const NAME(parameters) q = NAME(parameters_moved)(p, c);
            for (int v = 0; v < SUM_VECTORS; v++) {
                const NAME(cursor) at = NAME(cursor_moved)(kind, run, v * NAME(VEC));
                const ptrdiff_t left = n - v * NAME(VEC);
                if (left >= NAME(VEC))
                    sums[v] = NAME(plus)(sums[v], NAME(run_pair)(kind, at, q, NAME(VEC)));
                else if (left > 0)
                    sums[v] = NAME(plus)(sums[v], NAME(run_pair)(kind, at, q, left));
            }
        }
        for (ptrdiff_t v = 0; v * NAME(VEC) < n; v++) {
            NAME(add_to)(dweight + column + v * NAME(VEC), sums[v].a);
            NAME(add_to)(dbias + column + v * NAME(VEC), sums[v].b);
        }
    }
}

ALWAYS_INLINE void NAME(add_runs)(const loop_kind kind, const bn_tensors *t, bn_extent e,
                                  NAME(parameters) p, double *dweight, double *dbias)
{
    ptrdiff_t i = 0;
    for (; i + NAME(STRIP) <= e.n; i += NAME(STRIP))
        NAME(add_strip_of_runs)(kind, t, e, p, i, NAME(STRIP), dweight, dbias);
    if (i < e.n) NAME(add_strip_of_runs)(kind, t, e, p, i, e.n - i, dweight, dbias);
}

static void NAME(add_runs_of_rare_kind)(loop_kind kind, const bn_tensors *t, bn_extent e,
                                        NAME(parameters) p, double *dweight, double *dbias)
{
    NAME(add_runs)(kind, t, e, p, dweight, dbias);
}

static void NAME(add_run_gradients)(const bn_tensors *t, bn_extent e, bn_coefficients k,
                                    const bn_epilogue *epilogue, double *dweight, double *dbias)
{
    const NAME(parameters) p = NAME(parameters_of)(k, epilogue);
    const loop_kind kind = {.backward = 1,
                            .activation = epilogue->activation,
                            .extra = t->y.data != NULL,
                            .run = 1};
    if (kind.activation) NAME(add_runs_of_rare_kind)(kind, t, e, p, dweight, dbias);
    else NAME(add_runs)((loop_kind){.backward = 1, .run = 1}, t, e, p, dweight, dbias);
}
