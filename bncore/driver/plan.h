/* Which thread works on which chunks, and in what order: how a call is spread over cores and caches.
   Nothing here changes a result: a channel's sums are the same whichever channels are taken together. */
#ifndef BN_PLAN_H
#define BN_PLAN_H

#include "partition.h"

/* A block is a few adjoining channels. docs/design.md, "Plans", tells when each of these is faster. */
typedef enum {
    BN_SHARED, /* all threads share the chunks of a group of channels, pass by pass */
    BN_OWN,    /* one thread does both passes over a block, which stays in its core's cache between */
    BN_APART,  /* first pass as in BN_OWN; second pass shared, in the order of memory */
} bn_how;

typedef struct {
    bn_partition cut;
    bn_how how;
    int threads;
    int from_memory; /* the tensors are larger than the caches: outputs are written past them */
    int row_by_row;  /* order of a group's chunks: all blocks of a row, else all rows of a block */
    ptrdiff_t block; /* channels of a block */
    ptrdiff_t part;  /* BN_OWN: channels that one thread works on, block by block */
    ptrdiff_t group; /* channels that all threads share at a time */
    ptrdiff_t tile;  /* bn_extent's */
} bn_plan;

/* `tensors`: how many the call has; `read`: how many of them both passes read, 0 for a single pass; `span`:
   adjoining channels that are never apart. */
bn_plan bn_make_plan(bn_partition cut, ptrdiff_t itemsize, int tensors, int read, ptrdiff_t span,
                     int threads);

/* The same for sums over channels, whose order of additions must not depend on the number of threads: the
   channels are cut into a few parts, of a size that follows from the shape alone. */
bn_plan bn_plan_parts(bn_plan plan);

/* Chunk k of channels `begin` to `end`, with the plan's tile. */
bn_chunk bn_plan_chunk(const bn_plan *plan, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t end);

#endif
