/* Whole-tensor operations: a fixed partition into chunks, the kernels over them in parallel, the
   chunks' results merged in order. What a chunk is depends on the tensor's shape alone, so any
   number of threads gives the same bits. */
#ifndef BN_DRIVER_H
#define BN_DRIVER_H

#include "kernels.h"
#include "layout.h"

typedef struct {
    const bn_kernels *kernels;
    bn_layout layout;
    int threads;
} bn_call;

/* All return 0 when out of memory, else 1. Arrays of doubles have one value for each channel. */

int bn_stats(const bn_call *call, bn_operand x, double *count, double *mean, double *m2);
int bn_normalize(const bn_call *call, bn_operand x, bn_operand y, const bn_channel_values *values);
/* bn_stats, then bn_normalize with what it found; x is read once where a block fits in cache. */
int bn_forward(const bn_call *call, bn_operand x, bn_operand y, const double *weight,
               const double *bias, double eps, double *count, double *mean, double *m2);

int bn_reduce(const bn_call *call, bn_operand dy, bn_operand x, const double *mean, double *sum_dy,
              double *sum_dy_xmu);
int bn_gradient(const bn_call *call, bn_operand dy, bn_operand x, bn_operand dx,
                const bn_channel_values *values);
/* bn_reduce into sum_dy and sum_dy_xmu, then bn_gradient with them. */
int bn_backward(const bn_call *call, bn_operand dy, bn_operand x, bn_operand dx,
                const bn_channel_values *values, double *sum_dy, double *sum_dy_xmu);

#endif
