/* Batches of images, and windows that move over them: what convolutions and pooling share. */
#ifndef BN_IMAGES_H
#define BN_IMAGES_H

#include "kernels/kernels.h"

/* A batch of images in any order in memory. The steps from one image, channel, row and column to the
   next count values. */
typedef struct {
    char *data;
    ptrdiff_t channels, rows, columns;
    ptrdiff_t image, channel, row, column;
} bn_images;

/* How a kernel moves along the rows or the columns, in pixels. */
typedef struct {
    ptrdiff_t kernel, stride, before, dilation;
} bn_window;

/* The windows of a call: along the rows, along the columns. */
enum { BN_ROWS, BN_COLUMNS };

/* Copy images to others of the same sizes, in another order in memory. */
void bn_copy_images(const bn_conv_kernels *kernels, int threads, ptrdiff_t images, bn_images to,
                    bn_images from);

#endif
