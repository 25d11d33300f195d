/* Whole-tensor operations: a fixed partition into chunks, the kernels over them in parallel, the
   chunks' results merged in order. What a chunk is depends on the tensor's shape alone, so any
   number of threads gives the same bits. */
#ifndef BN_DRIVER_H
#define BN_DRIVER_H

#include "kernels/kernels.h"
#include "layout.h"

/* The arrays of a call, in the order in which layout.h gets them; data is NULL where there is none.
   Forward: x, residual, y. Backward: x, y (for the sign of what was activated), dy, dx, dresidual. */
typedef struct {
    bn_operand x, residual, y, dy, dx, dresidual;
} bn_arrays;

typedef struct {
    const bn_kernels *kernels;
    bn_layout layout;
    int threads;
    bn_arrays arrays;
    bn_channel_values values; /* of each channel */
    bn_activation activation;
    double negative_slope;
} bn_call;

/* All return 0 when out of memory, else 1. Arrays of doubles have one value for each channel. */

/* Moments of x. */
int bn_stats(const bn_call *call, double *count, double *mean, double *m2);
/* y, with call->values. */
int bn_normalize(const bn_call *call);
/* bn_stats, then bn_normalize with what it found; x is read once where a block fits in cache. */
int bn_forward(const bn_call *call, double *count, double *mean, double *m2);

/* Sums of g and of g·(x - mean), g being dy before the activation. */
int bn_reduce(const bn_call *call, double *sum_g, double *sum_g_xm);
/* dx (and dresidual, which is g), with call->values, its sums included. */
int bn_gradient(const bn_call *call);
/* bn_reduce, then bn_gradient with what it found. */
int bn_backward(const bn_call *call, double *sum_g, double *sum_g_xm);

#endif
