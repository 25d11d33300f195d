/* Pooling of whole batches, without Python. Any number of threads, any instruction set and any order in
   memory give the same bits. */
#ifndef BN_POOLING_H
#define BN_POOLING_H

#include "images.h"
#include "kernels/kernels.h"

typedef struct {
    const bn_pool_kernels *kernels;
    int threads;
    ptrdiff_t images;
    bn_images x, y;      /* or their gradients */
    /* Of maxima, as many as y. With one byte, the number of the pixel in the window, row by row; with
       four, its number in the image. */
    bn_images positions;
    int position_bytes;
    bn_window window[2]; /* along the rows, along the columns; the dilation is not used */
    const void *sign;    /* of maxima: see bn_pool_block; or NULL */
    int count_padding;   /* means: whether pixels of the padding count */
} bn_pooling;

void bn_pool_max(const bn_pooling *call);
/* dx, in the place of x, from dy, in the place of y, and the positions. */
void bn_pool_max_gradient(const bn_pooling *call);
void bn_pool_mean(const bn_pooling *call);
void bn_pool_mean_gradient(const bn_pooling *call);

#endif
