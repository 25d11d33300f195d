/* Elementwise passes. The loops are plain: compilers make vectors of them. What a loop must not test for
   each value is a constant argument of an inlined function. */

#if BITS == 32
#define SQUARE_ROOT sqrtf
#else
#define SQUARE_ROOT sqrt
#endif

/* ---- activations, and sums ---- */

static void NAME(relu)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    (void)options;
    real *restrict y = tensor[0];
    const real *restrict x = tensor[1];
    for (ptrdiff_t i = begin; i < end; i++) y[i] = x[i] <= 0 ? 0 : x[i];
}

static void NAME(relu_dx)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    (void)options;
    real *restrict dx = tensor[0];
    const real *restrict dy = tensor[1], *restrict y = tensor[2];
    for (ptrdiff_t i = begin; i < end; i++) {
        const real g = dy[i]; /* it is always read, so that no branch is needed */
        dx[i] = y[i] <= 0 ? 0 : g;
    }
}

static void NAME(relu6)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    (void)options;
    real *restrict y = tensor[0];
    const real *restrict x = tensor[1];
    for (ptrdiff_t i = begin; i < end; i++) {
        const real z = x[i] <= 0 ? 0 : x[i];
        y[i] = z > 6 ? 6 : z;
    }
}

static void NAME(relu6_dx)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    (void)options;
    real *restrict dx = tensor[0];
    const real *restrict dy = tensor[1], *restrict y = tensor[2];
    for (ptrdiff_t i = begin; i < end; i++) {
        const real g = dy[i];
        dx[i] = ((y[i] <= 0) | (y[i] >= 6)) ? 0 : g;
    }
}

static void NAME(leaky_relu)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    const real slope = (real)*(const double *)options;
    real *restrict y = tensor[0];
    const real *restrict a = tensor[1], *restrict x = tensor[2];
    for (ptrdiff_t i = begin; i < end; i++) y[i] = a[i] * (x[i] > 0 ? 1 : slope);
}

static void NAME(sigmoid_dx)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    (void)options;
    real *restrict dx = tensor[0];
    const real *restrict dy = tensor[1], *restrict y = tensor[2];
    for (ptrdiff_t i = begin; i < end; i++) dx[i] = dy[i] * y[i] * (1 - y[i]);
}

static void NAME(tanh_dx)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    (void)options;
    real *restrict dx = tensor[0];
    const real *restrict dy = tensor[1], *restrict y = tensor[2];
    for (ptrdiff_t i = begin; i < end; i++) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

static void NAME(add_tensors)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    (void)options;
    real *restrict sum = tensor[0];
    const real *restrict a = tensor[1], *restrict b = tensor[2];
    for (ptrdiff_t i = begin; i < end; i++) sum[i] = a[i] + b[i];
}

#include "activation_body.h"

/* ---- dropout ---- */

/* Number k of the generator SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
   generators", 2014): it follows from the seed and k alone, so that any thread can begin anywhere. */
ALWAYS_INLINE uint64_t NAME(random_bits)(uint64_t seed, uint64_t k)
{
    uint64_t z = seed + (k + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

enum { NAME(DRAWN) = 64 }; /* values whose masks are chosen together; even, as two share a number */

/* The masks of values `first` to first + DRAWN, where `first` is even. */
ALWAYS_INLINE void NAME(draw)(uint8_t *restrict mask, ptrdiff_t first, const bn_dropout *d)
{
    uint64_t number[NAME(DRAWN) / 2];
    const int64_t threshold = (int64_t)d->threshold; /* signed: vectors of unsigned do not compare */
    for (int k = 0; k < NAME(DRAWN) / 2; k++)
        number[k] = NAME(random_bits)(d->seed, (uint64_t)(first / 2 + k));
    for (int k = 0; k < NAME(DRAWN) / 2; k++) {
        mask[2 * k] = (int64_t)(number[k] & UINT32_MAX) >= threshold;
        mask[2 * k + 1] = (int64_t)(number[k] >> 32) >= threshold;
    }
}

/* A product, not a choice, so that NaN and infinity times 0 are NaN. */
ALWAYS_INLINE void NAME(apply_mask)(real *restrict y, const real *restrict x,
                                    const uint8_t *restrict mask, ptrdiff_t n, real scale)
{
    for (ptrdiff_t i = 0; i < n; i++) y[i] = x[i] * ((real)mask[i] * scale);
}

static void NAME(dropout)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    const bn_dropout *d = options;
    real *y = tensor[0];
    uint8_t *mask = tensor[1];
    const real *x = tensor[2];
    for (ptrdiff_t i = begin; i < end; i += NAME(DRAWN)) {
        const ptrdiff_t n = bn_min(NAME(DRAWN), end - i);
        uint8_t drawn[NAME(DRAWN)];
        NAME(draw)(drawn, i, d);
        memcpy(mask + i, drawn, n);
        NAME(apply_mask)(y + i, x + i, drawn, n, (real)d->scale);
    }
}

static void NAME(masked)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    NAME(apply_mask)((real *)tensor[0] + begin, (const real *)tensor[1] + begin,
                     (const uint8_t *)tensor[2] + begin, end - begin,
                     (real)*(const double *)options);
}

/* ---- steps of optimizers ---- */

/* The gradient with weight decay. Without decay, p is not multiplied with 0: it may be infinite. */
ALWAYS_INLINE real NAME(decayed)(real grad, real p, const int decays, real decay)
{
    return decays ? p * decay + grad : grad;
}

ALWAYS_INLINE void NAME(sgd_run)(const int decays, real *restrict p, const real *restrict grad,
                                 ptrdiff_t n, const bn_sgd *s)
{
    const real lr = (real)s->lr, decay = (real)s->decay;
    for (ptrdiff_t i = 0; i < n; i++) p[i] -= NAME(decayed)(grad[i], p[i], decays, decay) * lr;
}

static void NAME(sgd)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    const bn_sgd *s = options;
    real *p = (real *)tensor[0] + begin;
    const real *grad = (const real *)tensor[1] + begin;
    if (s->decay != 0) NAME(sgd_run)(1, p, grad, end - begin, s);
    else NAME(sgd_run)(0, p, grad, end - begin, s);
}

ALWAYS_INLINE void NAME(momentum_run)(const int decays, const int nesterov, real *restrict p,
                                      real *restrict b, const real *restrict grad, ptrdiff_t n,
                                      const bn_sgd *s)
{
    const real lr = (real)s->lr, decay = (real)s->decay, momentum = (real)s->momentum;
    const real gain = (real)s->gain, ahead = (real)(s->lr * s->momentum);
    for (ptrdiff_t i = 0; i < n; i++) {
        const real g = NAME(decayed)(grad[i], p[i], decays, decay);
        const real moved = b[i] * momentum + g * gain;
        b[i] = moved;
        p[i] = nesterov ? p[i] - g * lr - moved * ahead : p[i] - moved * lr;
    }
}

static void NAME(sgd_momentum)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end,
                               const void *options)
{
    const bn_sgd *s = options;
    real *p = (real *)tensor[0] + begin, *b = (real *)tensor[1] + begin;
    const real *grad = (const real *)tensor[2] + begin;
    const ptrdiff_t n = end - begin;
    if (s->decay != 0 && s->nesterov) NAME(momentum_run)(1, 1, p, b, grad, n, s);
    else if (s->decay != 0) NAME(momentum_run)(1, 0, p, b, grad, n, s);
    else if (s->nesterov) NAME(momentum_run)(0, 1, p, b, grad, n, s);
    else NAME(momentum_run)(0, 0, p, b, grad, n, s);
}

ALWAYS_INLINE void NAME(adam_run)(const int decays, real *restrict p, real *restrict m,
                                  real *restrict v, const real *restrict grad, ptrdiff_t n,
                                  const bn_adam *a)
{
    const real shrink = (real)a->shrink, decay = (real)a->decay, eps = (real)a->eps;
    const real beta1 = (real)a->beta1, gain1 = (real)(1 - a->beta1);
    const real beta2 = (real)a->beta2, gain2 = (real)(1 - a->beta2);
    const real root = (real)a->root, step_size = (real)a->step_size;
    for (ptrdiff_t i = 0; i < n; i++) {
        const real shrunk = p[i] * shrink;
        const real g = NAME(decayed)(grad[i], shrunk, decays, decay);
        m[i] = m[i] * beta1 + g * gain1;
        v[i] = v[i] * beta2 + g * g * gain2;
        p[i] = shrunk - m[i] / (SQUARE_ROOT(v[i]) / root + eps) * step_size;
    }
}

static void NAME(adam)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    const bn_adam *a = options;
    real *p = (real *)tensor[0] + begin, *m = (real *)tensor[1] + begin;
    real *v = (real *)tensor[2] + begin;
    const real *grad = (const real *)tensor[3] + begin;
    if (a->decay != 0) NAME(adam_run)(1, p, m, v, grad, end - begin, a);
    else NAME(adam_run)(0, p, m, v, grad, end - begin, a);
}

ALWAYS_INLINE void NAME(rmsprop_run)(const int decays, const int centered, const int moves,
                                     real *restrict p, real *restrict v, real *restrict m,
                                     real *restrict b, const real *restrict grad, ptrdiff_t n,
                                     const bn_rmsprop *r)
{
    const real lr = (real)r->lr, decay = (real)r->decay, eps = (real)r->eps;
    const real alpha = (real)r->alpha, gain = (real)(1 - r->alpha), momentum = (real)r->momentum;
    for (ptrdiff_t i = 0; i < n; i++) {
        const real g = NAME(decayed)(grad[i], p[i], decays, decay);
        const real squares = v[i] * alpha + g * g * gain;
        v[i] = squares;
        real spread = squares;
        if (centered) {
            const real mean = m[i] * alpha + g * gain;
            m[i] = mean;
            /* A variance, which rounding can make negative where all gradients are equal. */
            const real rest = squares - mean * mean;
            spread = rest < 0 ? 0 : rest;
        }
        real step = g / (SQUARE_ROOT(spread) + eps);
        if (moves) {
            step = b[i] * momentum + step;
            b[i] = step;
        }
        p[i] -= step * lr;
    }
}

static void NAME(rmsprop)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end, const void *options)
{
    const bn_rmsprop *r = options;
    real *p = (real *)tensor[0] + begin, *v = (real *)tensor[1] + begin;
    real *m = tensor[2] ? (real *)tensor[2] + begin : NULL;
    real *b = tensor[3] ? (real *)tensor[3] + begin : NULL;
    const real *grad = (const real *)tensor[4] + begin;
    const ptrdiff_t n = end - begin;
    switch ((r->decay != 0) * 4 + (m != NULL) * 2 + (b != NULL)) {
    case 0: NAME(rmsprop_run)(0, 0, 0, p, v, m, b, grad, n, r); break;
    case 1: NAME(rmsprop_run)(0, 0, 1, p, v, m, b, grad, n, r); break;
    case 2: NAME(rmsprop_run)(0, 1, 0, p, v, m, b, grad, n, r); break;
    case 3: NAME(rmsprop_run)(0, 1, 1, p, v, m, b, grad, n, r); break;
    case 4: NAME(rmsprop_run)(1, 0, 0, p, v, m, b, grad, n, r); break;
    case 5: NAME(rmsprop_run)(1, 0, 1, p, v, m, b, grad, n, r); break;
    case 6: NAME(rmsprop_run)(1, 1, 0, p, v, m, b, grad, n, r); break;
    default: NAME(rmsprop_run)(1, 1, 1, p, v, m, b, grad, n, r);
    }
}

static const bn_elementwise_kernels NAME(elementwise_table) = {
    .relu = NAME(relu),
    .relu_dx = NAME(relu_dx),
    .relu6 = NAME(relu6),
    .relu6_dx = NAME(relu6_dx),
    .leaky_relu = NAME(leaky_relu),
    .sigmoid_dx = NAME(sigmoid_dx),
    .tanh_dx = NAME(tanh_dx),
    .gelu = NAME(gelu),
    .gelu_dx = NAME(gelu_dx),
    .gelu_tanh = NAME(gelu_tanh),
    .gelu_tanh_dx = NAME(gelu_tanh_dx),
    .silu = NAME(silu),
    .silu_dx = NAME(silu_dx),
    .elu = NAME(elu),
    .elu_dx = NAME(elu_dx),
    .softplus = NAME(softplus),
    .softplus_dx = NAME(softplus_dx),
    .hardswish = NAME(hardswish),
    .hardswish_dx = NAME(hardswish_dx),
    .prelu = NAME(prelu),
    .logistic_loss = NAME(logistic_loss),
    .add = NAME(add_tensors),
    .dropout = NAME(dropout),
    .masked = NAME(masked),
    .sgd = NAME(sgd),
    .sgd_momentum = NAME(sgd_momentum),
    .adam = NAME(adam),
    .rmsprop = NAME(rmsprop),
};

#undef SQUARE_ROOT
