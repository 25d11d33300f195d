/* The serial kernels: one chunk of one tensor at a time. They know nothing of Python, threads or
   CPU features; an instruction set's file (isa_*.c) compiles them once for each dtype. */
#ifndef BN_KERNELS_H
#define BN_KERNELS_H

#include <stddef.h>

enum {
    BN_LANES = 32,       /* partial sums of a run: the same for every instruction set, so that */
                         /* all of them give the same bits */
    BN_MAX_WIDTH = 1024, /* widest row of a channels-last chunk */
};

/* A chunk of one array: `rows` runs of `n` contiguous values, `stride` bytes apart. */
typedef struct {
    char *data;
    ptrdiff_t stride;
} bn_rows;

/* Moments of one channel within a chunk: mean, and the sum of squared distances from it. */
typedef struct {
    double mean, m2;
} bn_moments;

/* Sums of one channel within a chunk: Σg and Σg·(x - mean), g the gradient before the activation. */
typedef struct {
    double g, g_xm;
} bn_sums;

/* What follows the normalization in the same pass, and how y is written. */
typedef enum { BN_NO_ACTIVATION, BN_RELU, BN_LEAKY_RELU } bn_activation;
typedef struct {
    bn_activation activation;
    double negative_slope; /* of the leaky ReLU */
    int stream;            /* write past the cache */
} bn_epilogue;

/* Per-channel coefficients, arrays of the kernel's dtype. With xm = x - mean:
     normalize:  z = xm * scale + shift (+ residual), y = activation(z)
     gradient:   dx = (g - mean_g - xm * slope) * scale, where g = dy * activation'(z)
   mean is the dtype's nearest to the true one; what it lacks is in shift and mean_g. */
typedef struct {
    void *mean, *scale, *shift, *mean_g, *slope;
} bn_coefficients;

/* What coefficients are made of, per channel; weight and bias may be NULL. */
typedef struct {
    const double *mean, *var, *weight, *bias;
    double eps;
    const double *sum_g, *sum_g_xm, *count; /* for the gradient only */
} bn_channel_values;

/* The arrays of a backward pass within a chunk. z's sign is that of y where y is given (there was a
   residual), else it is computed again from x; dresidual (may be NULL) receives g. */
typedef struct {
    bn_rows dy, x, y, dx, dresidual;
} bn_backward_rows;

typedef struct {
    ptrdiff_t itemsize;

    /* Fill coefficients at `at` from channel c's values. */
    void (*prepare_normalize)(const bn_channel_values *values, ptrdiff_t c,
                              const bn_coefficients *k, ptrdiff_t at);
    void (*prepare_gradient)(const bn_channel_values *values, ptrdiff_t c,
                             const bn_coefficients *k, ptrdiff_t at);

    /* planar: all values of the chunk belong to channel c */
    void (*stats_planar)(bn_rows x, ptrdiff_t rows, ptrdiff_t n, bn_moments *out);
    void (*normalize_planar)(bn_rows x, bn_rows residual, bn_rows y, ptrdiff_t rows, ptrdiff_t n,
                             const bn_coefficients *k, ptrdiff_t c, const bn_epilogue *e);
    void (*reduce_planar)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n,
                          const bn_coefficients *k, ptrdiff_t c, double mean,
                          const bn_epilogue *e, bn_sums *out);
    void (*gradient_planar)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n,
                            const bn_coefficients *k, ptrdiff_t c, const bn_epilogue *e);

    /* channels-last: value i of a row belongs to channel i mod channels; n is a multiple of
       channels, at most BN_MAX_WIDTH; one more row of `tail` values may follow */
    void (*stats_last)(bn_rows x, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t tail, ptrdiff_t channels,
                       bn_moments *out);
    void (*normalize_last)(bn_rows x, bn_rows residual, bn_rows y, ptrdiff_t rows, ptrdiff_t n,
                           const bn_coefficients *k, ptrdiff_t c, const bn_epilogue *e);
    void (*reduce_last)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t tail,
                        ptrdiff_t channels, const bn_coefficients *k, ptrdiff_t c,
                        const double *mean, const bn_epilogue *e, bn_sums *out);
    void (*gradient_last)(const bn_backward_rows *a, ptrdiff_t rows, ptrdiff_t n,
                          const bn_coefficients *k, ptrdiff_t c, const bn_epilogue *e);
} bn_kernels;

/* The kernels of an instruction set, one table for each dtype. */
typedef struct {
    const char *name;
    bn_kernels float32, float64;
} bn_isa;

#endif
