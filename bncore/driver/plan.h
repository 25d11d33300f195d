/* Who works on what, and when: how a call is spread over cores and caches. Nothing here changes a
   result: a channel's sums are the same whichever channels are taken together. */
#ifndef BN_PLAN_H
#define BN_PLAN_H

#include "partition.h"

/* A block is some adjoining channels.
   own: each block is one thread's from end to end, and stays in that core's cache over both passes.
   apart: so in the first pass; the second goes in the order of memory. That is faster by 10 to 30 %
   where the tensor is in a cache, and a row of a block a piece of a few KB.
   shared: all threads share the chunks of a group of channels, once for each pass. Channels-last
   tensors are shared as a whole: blocks of 64 columns and more that fit in a core's cache took 1.3
   to 3 times as long, their rows being pieces that lie far apart. */
typedef struct {
    enum { BN_SHARED, BN_OWN, BN_APART } how;
    int threads;
    int from_memory; /* the arrays are larger than the caches; outputs are written past them */
    int row_by_row;  /* the order of a group's chunks; else block by block */
    ptrdiff_t block; /* channels */
    ptrdiff_t group; /* channels that all threads are at */
    ptrdiff_t tile;  /* rows that a kernel goes over at once */
} bn_plan;

/* `arrays`: of the call; `read`: of them, those that are read twice, 0 for a single pass. */
bn_plan bn_make_plan(const bn_partition *cut, ptrdiff_t itemsize, int arrays, int read, int threads);

#endif
