/* Winograd's convolution of an item of a relation: tiles of 2 x 2 outputs, some at a time. They are
   transformed, multiplied place by place, and transformed back; kernels/winograd_body.h has the
   transformations. */
#ifndef BN_WINOGRAD_H
#define BN_WINOGRAD_H

#include "relation.h"

enum { BN_PLACES = 16 }; /* products of a tile */

/* Values of a place of the weights, or of the sums of their gradient. */
ptrdiff_t bn_winograd_place(const bn_relation *r);
/* Bytes of the memory that a worker needs. */
size_t bn_winograd_bytes(const bn_relation *r);

/* Weights that are transformed, and a bias, with whole vectors; and one of zeros. */
typedef struct {
    const char *packed, *bias, *zeros;
} bn_winograd_weights;

/* The outputs of a grid, from the first pixel that is read and to the first output. */
void bn_winograd_convolve(const bn_relation *r, const bn_grid *g, const char *from, char *to,
                          bn_winograd_weights weights, const bn_conv_end *end, char *memory);
/* Add to the sums of the weight's gradient, for output channels `begin` to `end`. */
void bn_winograd_add_dweight(const bn_relation *r, const bn_grid *g, const char *from, const char *dy,
                             char *sums, ptrdiff_t begin, ptrdiff_t end, char *memory);

#endif
