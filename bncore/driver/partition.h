/* How the values of each channel are cut into chunks, whose sums are added up in order. What a chunk
   is depends on the tensor's shape alone, so any number of threads gives the same bits. */
#ifndef BN_PARTITION_H
#define BN_PARTITION_H

#include "kernels/kernels.h"
#include "layout.h"

/* A chunk is some rows of the tensor; planar, a long run is cut into pieces besides. */
typedef struct {
    const bn_layout *layout;
    ptrdiff_t chunks;
    ptrdiff_t rows;      /* of a chunk */
    ptrdiff_t pieces, n; /* of a planar run; values of a piece */
} bn_partition;

bn_partition bn_cut(const bn_layout *layout);
/* The same for a pass without sums: as few rows as make a chunk worth while. */
bn_partition bn_cut_fine(const bn_layout *layout);

/* Chunk k of `channels` channels, beginning with `channel`: what a kernel is told of it (but for its
   tile, which is the plan's). */
typedef struct {
    ptrdiff_t channel, row, column; /* where it begins */
    bn_extent extent;
} bn_chunk;

bn_chunk bn_chunk_at(const bn_partition *p, ptrdiff_t k, ptrdiff_t channel, ptrdiff_t channels);

/* Where a chunk lies in one operand. */
bn_view bn_chunk_view(const bn_partition *p, const bn_chunk *chunk, bn_operand operand,
                      ptrdiff_t itemsize);

#endif
