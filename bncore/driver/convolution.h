/* Convolutions of whole batches, without Python. Any number of threads gives the same bits; instruction
   sets differ in the last ones, because fused multiply-adds round once. */
#ifndef BN_CONVOLUTION_H
#define BN_CONVOLUTION_H

#include "images.h"
#include "kernels/kernels.h"

typedef struct {
    const bn_conv_kernels *kernels;
    int threads;
    ptrdiff_t images;
    bn_images x, y;      /* or their gradients */
    const void *weight;  /* (channels of y, channels of x, kernel height, kernel width), contiguous */
    bn_window window[2]; /* along the rows, along the columns */
} bn_convolution;

/* All return 0 when out of memory, else 1. */

/* y from x. The bias has one value for each channel of y, or is NULL. */
int bn_convolve(const bn_convolution *call, const void *bias);
/* dx, in the place of x, from dy, in the place of y. */
int bn_convolve_dx(const bn_convolution *call);
/* The gradient of the weight from x and dy, which is in the place of y. call->weight is not used. */
int bn_convolve_dweight(const bn_convolution *call, void *dweight);

#endif
