/* How a tensor is cut into blocks of channels and these into chunks, the units of work. */
#ifndef BN_PARTITION_H
#define BN_PARTITION_H

#include "kernels.h"
#include "layout.h"

/* A chunk is some rows of one block. Planar: a block is a channel, its rows are the inner runs, and
   a long run is cut into pieces. Channels-last: a block is all channels, or some hundreds of
   many, its rows are `fold` rows of the tensor taken as one. */
typedef struct {
    const bn_layout *layout;
    ptrdiff_t blocks, chunks;    /* chunks of each block */
    ptrdiff_t block_channels;
    ptrdiff_t block_values;      /* of the whole block */
    ptrdiff_t rows, n;           /* tensor rows of a chunk; values of a planar piece */
    ptrdiff_t pieces;            /* of a planar run */
} bn_partition;

typedef struct {
    ptrdiff_t channel, channels; /* of its block */
    ptrdiff_t row, piece;        /* where it begins */
    ptrdiff_t rows, n, tail;     /* kernel's rows, values in each, and in one more row (0: none) */
} bn_chunk;

bn_partition bn_cut(const bn_layout *layout);

/* Chunk k of a block. */
bn_chunk bn_chunk_at(const bn_partition *p, ptrdiff_t block, ptrdiff_t k);

/* Values that each channel has in chunk k. */
double bn_chunk_count(const bn_partition *p, ptrdiff_t k);

/* Where a chunk lies in one operand. */
bn_rows bn_chunk_rows(const bn_partition *p, const bn_chunk *chunk, bn_operand operand,
                      ptrdiff_t itemsize);

#endif
