/* How each channel's values are cut into chunks, whose sums are added up in order. The cut depends on
   the tensor's shape alone, not on the number of threads, and so do the bits of the results. */
#ifndef BN_PARTITION_H
#define BN_PARTITION_H

#include "kernels/kernels.h"
#include "layout.h"

/* A chunk is some rows of the tensor. Planar, a long run is also cut into pieces, each of a chunk. */
typedef struct {
    const bn_layout *layout;
    ptrdiff_t chunks;
    ptrdiff_t rows;   /* of a chunk */
    ptrdiff_t pieces; /* of a planar run */
    ptrdiff_t n;      /* values of a piece */
} bn_partition;

bn_partition bn_cut(const bn_layout *layout);
/* Of a planar tensor with one row: each channel whole, in one chunk. */
bn_partition bn_cut_whole(const bn_layout *layout);
/* For a pass without sums, whose cut cannot change bits: smaller planar chunks, of all channels. */
bn_partition bn_cut_fine(const bn_layout *layout);

/* Chunk k of `channels` channels from `channel` on: where it begins, and its loops. The extent's tile
   is left to the caller. */
typedef struct {
    ptrdiff_t channel, row, column;
    bn_extent extent;
} bn_chunk;

bn_chunk bn_chunk_at(const bn_partition *p, ptrdiff_t k, ptrdiff_t channel, ptrdiff_t channels);

/* The part of a whole tensor that a chunk covers. */
bn_tensor bn_chunk_of(const bn_partition *p, const bn_chunk *chunk, bn_tensor whole,
                      ptrdiff_t itemsize);

#endif
