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

/* Sums of one channel within a chunk: Σdy and Σdy·(x - mean). */
typedef struct {
    double dy, dy_xmu;
} bn_sums;

/* Per-channel coefficients, arrays of the kernel's dtype:
     normalize:  y  = (x - mean) * scale + shift
     gradient:   dx = (dy - shift - (x - mean) * slope) * scale
   mean is the dtype's nearest to the true one; what it lacks is in shift. */
typedef struct {
    void *mean, *scale, *shift, *slope;
} bn_coefficients;

/* What coefficients are made of, per channel; weight and bias may be NULL. */
typedef struct {
    const double *mean, *var, *weight, *bias;
    double eps;
    const double *sum_dy, *sum_dy_xmu, *count; /* for the gradient only */
} bn_channel_values;

typedef struct {
    ptrdiff_t itemsize;

    /* Fill coefficients at `at` from channel c's values. */
    void (*prepare_normalize)(const bn_channel_values *values, ptrdiff_t c,
                              const bn_coefficients *k, ptrdiff_t at);
    void (*prepare_gradient)(const bn_channel_values *values, ptrdiff_t c,
                             const bn_coefficients *k, ptrdiff_t at);

    /* planar: all values of the chunk belong to channel c */
    void (*stats_planar)(bn_rows x, ptrdiff_t rows, ptrdiff_t n, bn_moments *out);
    void (*normalize_planar)(bn_rows x, bn_rows y, ptrdiff_t rows, ptrdiff_t n,
                             const bn_coefficients *k, ptrdiff_t c);
    void (*reduce_planar)(bn_rows dy, bn_rows x, ptrdiff_t rows, ptrdiff_t n, double mean,
                          bn_sums *out);
    void (*gradient_planar)(bn_rows dy, bn_rows x, bn_rows dx, ptrdiff_t rows, ptrdiff_t n,
                            const bn_coefficients *k, ptrdiff_t c);

    /* channels-last: value i of a row belongs to channel i mod channels; n is a multiple of
       channels, at most BN_MAX_WIDTH; one more row of `tail` values may follow */
    void (*stats_last)(bn_rows x, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t tail, ptrdiff_t channels,
                       bn_moments *out);
    void (*normalize_last)(bn_rows x, bn_rows y, ptrdiff_t rows, ptrdiff_t n,
                           const bn_coefficients *k, ptrdiff_t c);
    void (*reduce_last)(bn_rows dy, bn_rows x, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t tail,
                        ptrdiff_t channels, const double *mean, bn_sums *out);
    void (*gradient_last)(bn_rows dy, bn_rows x, bn_rows dx, ptrdiff_t rows, ptrdiff_t n,
                          const bn_coefficients *k, ptrdiff_t c);
} bn_kernels;

/* The kernels of an instruction set, one table for each dtype. */
typedef struct {
    const char *name;
    bn_kernels float32, float64;
} bn_isa;

#endif
