/* The six operations on whole tensors, without Python. Any number of threads gives the same bits. */
#ifndef BN_OPERATIONS_H
#define BN_OPERATIONS_H

#include "kernels/kernels.h"
#include "layout.h"
#include "pooled.h"

/* What a caller asks for. y of a backward call is given only where a residual was added. */
typedef struct {
    const bn_kernels *kernels;
    bn_layout layout;
    int threads;
    bn_tensors tensors;
    const ptrdiff_t *gathered[BN_TENSORS]; /* strides by axis of a tensor that does not fit the layout */
    const bn_pooled *pooled; /* of bn_gradient: stands for dy, unless it is NULL */
    bn_channel_values values; /* with a span above 1, x has a single row, or its channels last */

    /* Of normalizations of runs: a planar x of a single row. NULL for weights of 1 and biases of 0. */
    const double *run_weight, *run_bias;
    double *run_dweight, *run_dbias; /* of bn_backward; NULL if nobody needs them */
    int about_zero;                  /* the mean is taken to be 0: normalization by the mean square */

    bn_activation activation;
    double negative_slope;
} bn_call;

/* All return 0 when out of memory, else 1. Moments have one value for each statistic, sums of dy one for each
   channel. */

/* Moments of x. */
int bn_stats(const bn_call *call, double *count, double *mean, double *m2);
/* y, with call->values. */
int bn_normalize(const bn_call *call);
/* bn_stats, then bn_normalize with its moments; where a block fits in a cache, x is read from memory
   once. */
int bn_forward(const bn_call *call, double *count, double *mean, double *m2);

/* Sums of g and of g·(x - mean), where g = dy * activation'(z). */
int bn_reduce(const bn_call *call, double *sum_g, double *sum_g_xm);
/* dx and dresidual = g, with call->values, which have the sums. */
int bn_gradient(const bn_call *call);
/* bn_reduce, then bn_gradient with its sums. */
int bn_backward(const bn_call *call, double *sum_g, double *sum_g_xm);

#endif
