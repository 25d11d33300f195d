/* Tensors whose memory the loops of a layout do not fit, because of gaps, of another order of axes or of
   broadcasting: they are copied chunk by chunk, so that no copy of a whole tensor is made. */
#ifndef BN_GATHER_H
#define BN_GATHER_H

#include "partition.h"

/* A tensor by its first value and its strides by axis. */
typedef struct {
    char *data;
    const ptrdiff_t *strides;
} bn_strided;

/* How many channels of a chunk are copied at a time, and how many values that may be. */
ptrdiff_t bn_gather_channels(const bn_partition *cut);
ptrdiff_t bn_gather_values(const bn_partition *cut);

/* Copy a chunk to `buffer`, which gets the order [row][channel][column], and back. */
void bn_gather(const bn_partition *cut, const bn_chunk *chunk, bn_strided t, ptrdiff_t itemsize,
               char *buffer);
void bn_scatter(const bn_partition *cut, const bn_chunk *chunk, bn_strided t, ptrdiff_t itemsize,
                const char *buffer);

/* The buffer as a tensor. */
bn_tensor bn_gathered(const bn_chunk *chunk, char *buffer, ptrdiff_t itemsize);

/* Distance in bytes from the first value of a channel to value i. */
ptrdiff_t bn_distance(const bn_layout *layout, const ptrdiff_t *strides, ptrdiff_t i);

#endif
