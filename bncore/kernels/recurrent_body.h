/* The elementwise part of a step of recurrent layers, forward and backward. The formulas are derived from
   those at `bn_recurrent_kernels`. Each loop goes over the hidden values of one sequence; `n` values of a
   vector are there. */

/* do_vector(j, n) for each vector of a row of hidden values. */
#define FOR_HIDDEN(step, do_vector)                                                               \
    do {                                                                                          \
        ptrdiff_t j = 0;                                                                          \
        for (; j + NAME(VEC) <= (step)->hidden; j += NAME(VEC)) do_vector(j, NAME(VEC));          \
        if (j < (step)->hidden) do_vector(j, (step)->hidden - j);                                 \
    } while (0)

/* Row r of tensor number i, whose rows have `gates` times as many values as there are hidden ones. */
ALWAYS_INLINE real *NAME(row)(void *const *tensor, int i, const bn_step *s, ptrdiff_t r, int gates)
{
    return (real *)tensor[i] + r * s->hidden * gates;
}

ALWAYS_INLINE int NAME(is_active)(const bn_step *s, ptrdiff_t r)
{
    return s->active == NULL || s->active[r];
}

ALWAYS_INLINE void NAME(copy_row)(real *to, const real *from, const bn_step *s)
{
    memcpy(to, from, s->hidden * sizeof(real));
}

/* What reaches h of this step: from its output, and from the step that follows. */
ALWAYS_INLINE NAME(vec) NAME(dh_at)(const real *dy, const real *through, const real *product,
                                    ptrdiff_t j, ptrdiff_t n)
{
    return NAME(read)(dy + j, n) + (NAME(read)(through + j, n) + NAME(read)(product + j, n));
}

/* Behind the end of a sequence, dh goes on to the step before, and the gates get no gradient. */
ALWAYS_INLINE void NAME(pass_dh)(real *through, const real *product, const bn_step *s)
{
    for (ptrdiff_t j = 0; j < s->hidden; j++) through[j] += product[j];
}

ALWAYS_INLINE void NAME(clear_row)(real *row, const bn_step *s, int gates)
{
    memset(row, 0, s->hidden * gates * sizeof(real));
}

ALWAYS_INLINE NAME(vec) NAME(sigmoid)(NAME(vec) x) { return NAME(logistic_of)(x).of_x; }

/* ---- RNN ---- */

ALWAYS_INLINE void NAME(rnn_rows)(const int relu, void *const *tensor, const bn_step *s)
{
    for (ptrdiff_t r = 0; r < s->rows; r++) {
        const real *gate = NAME(row)(tensor, 0, s, r, 1), *product = NAME(row)(tensor, 1, s, r, 1);
        real *h = NAME(row)(tensor, 3, s, r, 1);
        if (!NAME(is_active)(s, r)) {
            NAME(copy_row)(h, NAME(row)(tensor, 2, s, r, 1), s);
            continue;
        }
#define RNN_VECTOR(j, n)                                                                          \
    do {                                                                                          \
        const NAME(vec) a = NAME(read)(gate + j, n) + NAME(read)(product + j, n);                 \
        NAME(write)(h + j, relu ? ZERO_WHERE(a <= 0, a) : NAME(tanh)(a), n);        \
    } while (0)
        FOR_HIDDEN(s, RNN_VECTOR);
#undef RNN_VECTOR
    }
}

static void NAME(rnn_tanh)(void *const *tensor, const bn_step *s)
{
    NAME(rnn_rows)(0, tensor, s);
}

static void NAME(rnn_relu)(void *const *tensor, const bn_step *s)
{
    NAME(rnn_rows)(1, tensor, s);
}

ALWAYS_INLINE void NAME(rnn_gradient_rows)(const int relu, void *const *tensor, const bn_step *s)
{
    const NAME(vec) one = NAME(splat)(1);
    for (ptrdiff_t r = 0; r < s->rows; r++) {
        real *dgate = NAME(row)(tensor, 0, s, r, 1), *through = NAME(row)(tensor, 1, s, r, 1);
        const real *product = NAME(row)(tensor, 2, s, r, 1), *dy = NAME(row)(tensor, 3, s, r, 1);
        const real *h = NAME(row)(tensor, 4, s, r, 1);
        if (!NAME(is_active)(s, r)) {
            NAME(pass_dh)(through, product, s);
            NAME(clear_row)(dgate, s, 1);
            continue;
        }
#define RNN_GRADIENT(j, n)                                                                        \
    do {                                                                                          \
        const NAME(vec) dh = NAME(dh_at)(dy, through, product, j, n), y = NAME(read)(h + j, n);   \
        NAME(write)(dgate + j, relu ? ZERO_WHERE(y <= 0, dh) : dh * (one - y * y), n);            \
    } while (0)
        FOR_HIDDEN(s, RNN_GRADIENT);
#undef RNN_GRADIENT
        NAME(clear_row)(through, s, 1);
    }
}

static void NAME(rnn_tanh_gradient)(void *const *tensor, const bn_step *s)
{
    NAME(rnn_gradient_rows)(0, tensor, s);
}

static void NAME(rnn_relu_gradient)(void *const *tensor, const bn_step *s)
{
    NAME(rnn_gradient_rows)(1, tensor, s);
}

/* ---- LSTM ---- */

static void NAME(lstm)(void *const *tensor, const bn_step *s)
{
    const ptrdiff_t hidden = s->hidden;
    for (ptrdiff_t r = 0; r < s->rows; r++) {
        real *gate = NAME(row)(tensor, 0, s, r, 4);
        const real *product = NAME(row)(tensor, 1, s, r, 4), *c0 = NAME(row)(tensor, 4, s, r, 1);
        real *h = NAME(row)(tensor, 3, s, r, 1), *c1 = NAME(row)(tensor, 5, s, r, 1);
        if (!NAME(is_active)(s, r)) {
            NAME(copy_row)(h, NAME(row)(tensor, 2, s, r, 1), s);
            NAME(copy_row)(c1, c0, s);
            continue;
        }
#define SUM(k, j, n)                                                                              \
    (NAME(read)(gate + (k) * hidden + (j), n) + NAME(read)(product + (k) * hidden + (j), n))
#define LSTM_VECTOR(j, n)                                                                         \
    do {                                                                                          \
        const NAME(vec) i = NAME(sigmoid)(SUM(0, j, n)), f = NAME(sigmoid)(SUM(1, j, n));         \
        const NAME(vec) g = NAME(tanh)(SUM(2, j, n));                               \
        const NAME(vec) o = NAME(sigmoid)(SUM(3, j, n));                                          \
        const NAME(vec) c = f * NAME(read)(c0 + j, n) + i * g;                                    \
        NAME(write)(gate + j, i, n);                                                              \
        NAME(write)(gate + hidden + j, f, n);                                                     \
        NAME(write)(gate + 2 * hidden + j, g, n);                                                 \
        NAME(write)(gate + 3 * hidden + j, o, n);                                                 \
        NAME(write)(c1 + j, c, n);                                                                \
        NAME(write)(h + j, o *NAME(tanh)(c), n);                                    \
    } while (0)
        FOR_HIDDEN(s, LSTM_VECTOR);
#undef LSTM_VECTOR
    }
}

static void NAME(lstm_gradient)(void *const *tensor, const bn_step *s)
{
    const ptrdiff_t hidden = s->hidden;
    const NAME(vec) one = NAME(splat)(1);
    for (ptrdiff_t r = 0; r < s->rows; r++) {
        real *gate = NAME(row)(tensor, 0, s, r, 4), *through = NAME(row)(tensor, 1, s, r, 1);
        const real *product = NAME(row)(tensor, 2, s, r, 1), *dy = NAME(row)(tensor, 3, s, r, 1);
        const real *c0 = NAME(row)(tensor, 4, s, r, 1), *c1 = NAME(row)(tensor, 5, s, r, 1);
        real *dc = NAME(row)(tensor, 6, s, r, 1);
        if (!NAME(is_active)(s, r)) {
            NAME(pass_dh)(through, product, s);
            NAME(clear_row)(gate, s, 4);
            continue;
        }
#define LSTM_GRADIENT(j, n)                                                                       \
    do {                                                                                          \
        const NAME(vec) dh = NAME(dh_at)(dy, through, product, j, n);                             \
        const NAME(vec) i = NAME(read)(gate + j, n), f = NAME(read)(gate + hidden + j, n);        \
        const NAME(vec) g = NAME(read)(gate + 2 * hidden + j, n);                                 \
        const NAME(vec) o = NAME(read)(gate + 3 * hidden + j, n);                                 \
        const NAME(vec) t = NAME(tanh)(NAME(read)(c1 + j, n));                      \
        const NAME(vec) d = NAME(read)(dc + j, n) + dh * o * (one - t * t);                       \
        NAME(write)(gate + j, d * g * i * (one - i), n);                                          \
        NAME(write)(gate + hidden + j, d * NAME(read)(c0 + j, n) * f * (one - f), n);             \
        NAME(write)(gate + 2 * hidden + j, d * i * (one - g * g), n);                             \
        NAME(write)(gate + 3 * hidden + j, dh * t * o * (one - o), n);                            \
        NAME(write)(dc + j, d * f, n);                                                            \
    } while (0)
        FOR_HIDDEN(s, LSTM_GRADIENT);
#undef LSTM_GRADIENT
        NAME(clear_row)(through, s, 1);
    }
}

/* ---- GRU ---- */

static void NAME(gru)(void *const *tensor, const bn_step *s)
{
    const ptrdiff_t hidden = s->hidden;
    const NAME(vec) one = NAME(splat)(1);
    const real *bias = tensor[5];
    for (ptrdiff_t r = 0; r < s->rows; r++) {
        real *gate = NAME(row)(tensor, 0, s, r, 3);
        const real *product = NAME(row)(tensor, 1, s, r, 3), *h0 = NAME(row)(tensor, 2, s, r, 1);
        real *h = NAME(row)(tensor, 3, s, r, 1), *inner = NAME(row)(tensor, 4, s, r, 1);
        if (!NAME(is_active)(s, r)) {
            NAME(copy_row)(h, h0, s);
            continue;
        }
#define GRU_VECTOR(j, n)                                                                          \
    do {                                                                                          \
        const NAME(vec) reset = NAME(sigmoid)(SUM(0, j, n)), z = NAME(sigmoid)(SUM(1, j, n));     \
        const NAME(vec) q = NAME(read)(product + 2 * hidden + j, n) + NAME(read)(bias + j, n);    \
        const NAME(vec) a = NAME(read)(gate + 2 * hidden + j, n) + reset * q;                     \
        const NAME(vec) new = NAME(tanh)(a);                                        \
        NAME(write)(gate + j, reset, n);                                                          \
        NAME(write)(gate + hidden + j, z, n);                                                     \
        NAME(write)(gate + 2 * hidden + j, new, n);                                               \
        NAME(write)(inner + j, q, n);                                                             \
        NAME(write)(h + j, (one - z) * new + z * NAME(read)(h0 + j, n), n);                       \
    } while (0)
        FOR_HIDDEN(s, GRU_VECTOR);
#undef GRU_VECTOR
    }
}

static void NAME(gru_gradient)(void *const *tensor, const bn_step *s)
{
    const ptrdiff_t hidden = s->hidden;
    const NAME(vec) one = NAME(splat)(1);
    for (ptrdiff_t r = 0; r < s->rows; r++) {
        real *gate = NAME(row)(tensor, 0, s, r, 3), *through = NAME(row)(tensor, 1, s, r, 1);
        const real *product = NAME(row)(tensor, 2, s, r, 1), *dy = NAME(row)(tensor, 3, s, r, 1);
        const real *h0 = NAME(row)(tensor, 4, s, r, 1), *inner = NAME(row)(tensor, 5, s, r, 1);
        real *dproduct = NAME(row)(tensor, 6, s, r, 3);
        if (!NAME(is_active)(s, r)) {
            NAME(pass_dh)(through, product, s);
            NAME(clear_row)(gate, s, 3);
            NAME(clear_row)(dproduct, s, 3);
            continue;
        }
#define GRU_GRADIENT(j, n)                                                                        \
    do {                                                                                          \
        const NAME(vec) dh = NAME(dh_at)(dy, through, product, j, n);                             \
        const NAME(vec) reset = NAME(read)(gate + j, n), z = NAME(read)(gate + hidden + j, n);    \
        const NAME(vec) new = NAME(read)(gate + 2 * hidden + j, n);                               \
        const NAME(vec) da = dh * (one - z) * (one - new * new);                                  \
        const NAME(vec) dreset = da * NAME(read)(inner + j, n) * reset * (one - reset);           \
        const NAME(vec) dz = dh * (NAME(read)(h0 + j, n) - new) * z * (one - z);                  \
        NAME(write)(gate + j, dreset, n);                                                         \
        NAME(write)(gate + hidden + j, dz, n);                                                    \
        NAME(write)(gate + 2 * hidden + j, da, n);                                                \
        NAME(write)(dproduct + j, dreset, n);                                                     \
        NAME(write)(dproduct + hidden + j, dz, n);                                                \
        NAME(write)(dproduct + 2 * hidden + j, da *reset, n);                                     \
        NAME(write)(through + j, dh *z, n);                                                       \
    } while (0)
        FOR_HIDDEN(s, GRU_GRADIENT);
#undef GRU_GRADIENT
    }
}

#undef SUM
#undef FOR_HIDDEN

static const bn_recurrent_kernels NAME(recurrent_table) = {
    .rnn_tanh = NAME(rnn_tanh),
    .rnn_tanh_gradient = NAME(rnn_tanh_gradient),
    .rnn_relu = NAME(rnn_relu),
    .rnn_relu_gradient = NAME(rnn_relu_gradient),
    .lstm = NAME(lstm),
    .lstm_gradient = NAME(lstm_gradient),
    .gru = NAME(gru),
    .gru_gradient = NAME(gru_gradient),
};
