/* From strides to loops: a tensor of any rank, its channel axis anywhere, as the two or three nested
   loops of a kernel. */
#ifndef BN_LAYOUT_H
#define BN_LAYOUT_H

#include "kernels/kernels.h"

enum { BN_MAX_RANK = 64 };

/* planar (NCHW): outer × channels × inner values.
   channels-last (NHWC): outer rows of channels, inner = 1. `fold` adjoining rows are taken together as
   one, so that few channels fill the lanes too.
   The order of additions depends on the layout, so the layout depends on x's shape and on the order of
   its axes in memory alone, not on gaps nor on other tensors. */
typedef struct {
    int channels_last;
    ptrdiff_t outer, channels, inner, fold;

    int axis;              /* of the channels */
    int axes, outer_axes;  /* the others that are longer than 1, the outer ones first: */
    int order[BN_MAX_RANK];
    const ptrdiff_t *shape;
} bn_layout;

bn_layout bn_layout_of(int rank, const ptrdiff_t *shape, int axis, const ptrdiff_t *strides);

/* Of a tensor of two axes, each row a channel. */
bn_layout bn_layout_of_rows(const ptrdiff_t *shape);

/* A tensor of this layout as a kernel's loops need it, from its strides by axis. Returns 0 if the loops
   do not fit: the axes are in another order, or there are gaps between values of a row. */
int bn_fits_layout(const bn_layout *layout, char *data, const ptrdiff_t *strides, ptrdiff_t itemsize,
                   bn_tensor *tensor);

#endif
