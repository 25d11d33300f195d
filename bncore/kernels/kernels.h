/* The serial kernels: one chunk of one tensor at a time. They know nothing of Python, threads or
   CPU features; an instruction set's file (isa_*.c) compiles them once for each dtype. */
#ifndef BN_KERNELS_H
#define BN_KERNELS_H

#include <stddef.h>

enum {
    BN_LANES = 16, /* partial sums of a run: the same for every instruction set, so that all of */
                   /* them give the same bits */
    BN_LINE = 64,  /* bytes of a cache line */
    BN_PAD = 64,   /* values that may be read beyond the end of a channel vector */
    BN_WIDEST_ROW = 1024, /* channels-last columns whose sums a kernel holds at once; rows that are */
                          /* taken together as one must not be wider */
};

/* A chunk of one array, which its extent describes; the distances are in bytes. */
typedef struct {
    char *data;
    ptrdiff_t row, channel;
} bn_view;

/* planar: in each row, one run of n contiguous values for each channel.
   channels-last: rows of n contiguous values, value i of channel i mod channels; one more row of
   `tail` values follows. n and tail are multiples of channels.
   tile: how many rows a kernel may go over at once to keep sums in registers. */
typedef struct {
    int channels_last;
    ptrdiff_t rows, channels, n, tail, tile;
} bn_extent;

/* What follows the normalization in the same pass, and how its results are written. */
typedef enum { BN_NO_ACTIVATION, BN_RELU, BN_LEAKY_RELU } bn_activation;
typedef struct {
    bn_activation activation;
    double negative_slope; /* of the leaky ReLU */
    int stream;            /* write past the cache */
} bn_epilogue;

/* Per-channel coefficients, arrays of the dtype of the arithmetic. With xm = x - mean:
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

/* The arrays of a pass; data is NULL where there is none. Forward: x, residual, y. Backward: x, dy,
   dx; y, if given, has z's sign (there was a residual), else z is computed again from x; dresidual
   receives g. An output may lie in the place of an input, to the byte. */
typedef struct {
    bn_view x, residual, y, dy, dx, dresidual;
} bn_views;

typedef struct {
    ptrdiff_t itemsize, realsize; /* bytes of a value of data; of the arithmetic and coefficients */

    /* A value near each channel's, to sum about; 0 where that is near enough. */
    void (*guess_shift)(bn_view x, bn_extent e, double *shift);

    /* Fill the coefficients from channel `begin` to `end`. */
    void (*prepare_normalize)(const bn_channel_values *values, ptrdiff_t begin, ptrdiff_t end,
                              const bn_coefficients *k);
    void (*prepare_gradient)(const bn_channel_values *values, ptrdiff_t begin, ptrdiff_t end,
                             const bn_coefficients *k);

    /* For each channel of the chunk: Σd and Σd², d = x - shift; Σg and Σg·(x - k.mean). The
       chunk's first channel is the first of shift, sum_*, k. Channels-last, shift and k have a value
       for each of the n of a row. */
    void (*stats)(bn_view x, bn_extent e, const double *shift, double *sum_d, double *sum_dd);
    void (*reduce)(const bn_views *v, bn_extent e, bn_coefficients k, const bn_epilogue *epilogue,
                   double *sum_g, double *sum_g_xm);

    /* y and dx (and dresidual) of the chunk. */
    void (*normalize)(const bn_views *v, bn_extent e, bn_coefficients k,
                      const bn_epilogue *epilogue);
    void (*gradient)(const bn_views *v, bn_extent e, bn_coefficients k,
                     const bn_epilogue *epilogue);
} bn_kernels;

/* The kernels of an instruction set, one table for each dtype. */
typedef struct {
    const char *name;
    const bn_kernels *float32, *float64, *float16, *bfloat16;
} bn_isa;

#endif
