/* From strides to loops: a tensor of any rank, its channel axis anywhere, as the two or three nested
   loops of a kernel. */
#ifndef BN_LAYOUT_H
#define BN_LAYOUT_H

#include "kernels/kernels.h"

enum { BN_MAX_TENSORS = sizeof(bn_tensors) / sizeof(bn_tensor), BN_MAX_RANK = 64 };

/* planar (NCHW): outer × channels × inner values, the inner ones contiguous.
   channels-last (NHWC): outer rows of contiguous channels, inner = 1. `fold` adjoining rows are taken
   together as one, so that few channels fill the lanes too; it is 1 where rows have gaps. */
typedef struct {
    int channels_last;
    ptrdiff_t outer, channels, inner, fold;
} bn_layout;

/* Find loops that serve all `count` tensors of this shape at once, which needs the same order of axes
   in memory. Fills the layout and the strides of the tensors. Returns 0 if there are no such loops;
   then copies are needed.
   The order of additions depends on the layout. Where rows have gaps, two axes that could be one loop
   may stay apart; nothing else about the memory changes the layout. */
int bn_find_layout(int rank, const ptrdiff_t *shape, int axis, ptrdiff_t itemsize, int count,
                   const ptrdiff_t *const *strides, bn_layout *layout, bn_tensor *tensors);

#endif
