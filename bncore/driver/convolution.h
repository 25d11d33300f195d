/* Convolutions of whole batches, without Python. Any number of threads gives the same bits; instruction
   sets differ in the last ones, because fused multiply-adds round once. */
#ifndef BN_CONVOLUTION_H
#define BN_CONVOLUTION_H

#include "images.h"
#include "kernels/kernels.h"

/* x, y and the weight stand for their gradients where those are computed. */
typedef struct {
    const bn_conv_kernels *kernels;
    int threads;
    ptrdiff_t images;
    bn_images x, y;
    void *weight; /* (channels of y, channels of x / groups, kernel height, kernel width), contiguous */
    ptrdiff_t groups;
    bn_window window[2];
    int depthwise; /* set by the driver: each channel of y is computed from one of x */
} bn_convolution;

/* All return 0 when out of memory, else 1. */

/* y from x. The bias has one value for each channel of y, or is NULL. */
int bn_convolve(const bn_convolution *call, const void *bias);
/* dx from dy. */
int bn_convolve_dx(const bn_convolution *call);
/* The gradient of the weight from x and dy, and the bias's, unless dbias is NULL. */
int bn_convolve_dweight(const bn_convolution *call, void *dbias);

#endif
