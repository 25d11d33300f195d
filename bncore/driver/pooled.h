/* The gradient of images that were pooled: maxima of windows side by side. Its pixels before the pooling
   exist chunk by chunk alone, in a worker's buffer. */
#ifndef BN_POOLED_H
#define BN_POOLED_H

#include "images.h"
#include "partition.h"

/* Images whose channels are last in memory, without gaps. */
typedef struct {
    const bn_pool_kernels *kernels;
    ptrdiff_t kernel[2];           /* BN_ROWS, BN_COLUMNS */
    ptrdiff_t size[2], outputs[2]; /* of an image before the pooling and after */
    const char *dy;
    const unsigned char *positions; /* the number of the maximum in its window */
} bn_pooled;

/* Chunks whose pixels stay in L1. */
bn_partition bn_cut_small(const bn_layout *layout);

/* Set the pixels of a chunk: to dy at the positions of the maxima, to 0 elsewhere. */
void bn_spread_chunk(const bn_pooled *p, const bn_chunk *chunk, char *buffer);

#endif
