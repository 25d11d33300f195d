/* A tensor of any rank, its channel axis anywhere, seen as the two or three loops of a kernel. */
#ifndef BN_LAYOUT_H
#define BN_LAYOUT_H

#include <stddef.h>

enum { BN_MAX_OPERANDS = 6, BN_MAX_RANK = 64 };

/* One array of a kernel's call: byte distances between neighbours on the outer and channel axes. */
typedef struct {
    char *data;
    ptrdiff_t outer_stride, channel_stride;
} bn_operand;

/* planar (NCHW): outer × channels × inner values, the inner ones contiguous.
   channels-last (NHWC): outer rows of contiguous channels, inner = 1; `fold` of them are taken
   together as one, so that few channels fill the lanes too (1 where the rows have gaps). */
typedef struct {
    int channels_last;
    ptrdiff_t outer, channels, inner, fold;
} bn_layout;

/* Find the loops that serve all `count` arrays of this shape at once; their order of axes in memory
   must agree. Fills layout and the operands' strides. Returns 0 if there are none (copy first).
   A gap between rows may keep two axes apart that are one loop without it, and so change the order
   of additions; nothing else about the memory does. */
int bn_find_layout(int rank, const ptrdiff_t *shape, int axis, ptrdiff_t itemsize, int count,
                   const ptrdiff_t *const *strides, bn_layout *layout, bn_operand *operands);

#endif
