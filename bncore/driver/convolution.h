/* Convolutions of whole batches, without Python. Any number of threads gives the same bits; instruction
   sets differ in the last ones, because fused multiply-adds round once. */
#ifndef BN_CONVOLUTION_H
#define BN_CONVOLUTION_H

#include "images.h"
#include "kernels/kernels.h"
#include "pooling.h"

/* What follows a convolution in the same pass: y = pooled(activation(convolution + residual)). */
typedef struct {
    bn_images residual; /* like y; its data is NULL if there is none */
    bn_activation activation;
    double negative_slope;
    /* Windows that lie side by side along the rows, and the images that they make of y, of which only the
       sizes are used then. The kernels are NULL if there is no pooling; positions need not be kept. */
    bn_pooling pooling;
} bn_conv_epilogue;

/* x, y and the weight stand for their gradients where those are computed. */
typedef struct {
    const bn_conv_kernels *kernels;
    int threads;
    ptrdiff_t images;
    bn_images x, y;
    void *weight; /* (channels of y, channels of x / groups, kernel height, kernel width), contiguous */
    const void *packed; /* of bn_convolve: what bn_pack_weight made; NULL to do that in the call */
    ptrdiff_t groups;
    bn_window window[2];
    bn_conv_epilogue epilogue; /* of bn_convolve; with groups of several channels there must be none */
    int winograd; /* whether convolutions of 3 x 3 may be Winograd's where that is faster */
    int depthwise; /* set by the driver: each channel of y is computed from one of x */
} bn_convolution;

/* All return 0 when out of memory, else 1. */

/* y from x. The bias has one value for each channel of y, or is NULL. */
int bn_convolve(const bn_convolution *call, const void *bias);
/* The weight in the order in which the kernels read it, for calls like this one: the bytes that it takes, and
   writing it to aligned memory. */
size_t bn_packed_bytes(const bn_convolution *call);
void bn_pack_weight(const bn_convolution *call, void *packed);
/* dx from dy, plus a bias with one value for each channel of x, which transposed convolutions have, or NULL. */
int bn_convolve_dx(const bn_convolution *call, const void *bias);
/* The gradient of the weight from x and dy, and the bias's, unless dbias is NULL. */
int bn_convolve_dweight(const bn_convolution *call, void *dbias);

#endif
