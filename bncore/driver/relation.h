/* Which pixels a convolution computes from which, in parts that threads take one after the other, and the
   buffers that these parts are computed in. */
#ifndef BN_RELATION_H
#define BN_RELATION_H

#include "convolution.h"

/* docs/design.md, "Convolutions", tells the reasons for these. */
enum {
    BN_WORK_BYTES = 256 * 1024, /* what the buffers of a worker may hold */
    BN_ITEMS_PER_THREAD = 4,
};

/* How the pixels of one batch, `to`, are computed from those of another, `from`. Forward, `to` is y. For
   dx, pixels of x that lie a stride apart are computed with the same taps of the kernel; those with
   different taps are different phases. A group is `step` adjoining pixels, one of each phase. */
typedef struct {
    const bn_convolution *call;
    bn_images from, to;
    int gradient;         /* whether it is dx that is computed */
    ptrdiff_t step[2];    /* of `to`, from a group to the next */
    ptrdiff_t advance[2]; /* of `from`, from a group to the next */
    ptrdiff_t first[2];   /* of `from`, the first that is read for the first group; it may be negative */
    ptrdiff_t reach[2];   /* of `from`, how many are read for one group */
    ptrdiff_t groups[2];
    ptrdiff_t width;      /* columns of the buffer with pixels of `from` */
    ptrdiff_t from_pitch; /* channels of `from` in its buffer; depthwise, in whole vectors */
    ptrdiff_t pitch;      /* channels of `to`, in whole vectors */
    int winograd;         /* whether tiles of 2 x 2 are computed */
    /* An item is `batch` whole images, or a band of groups of rows of one image. */
    ptrdiff_t batch, band, bands, items;
} bn_relation;

/* The taps of a phase along one axis, in the order of the pixels of `from` that they multiply. They are
   evenly spaced, in the kernel and among the pixels that are read for a group. */
typedef struct {
    ptrdiff_t count;
    ptrdiff_t tap, tap_step;
    ptrdiff_t place, place_step;
} bn_axis_taps;

typedef struct {
    ptrdiff_t at[2]; /* its first pixel in a group */
    bn_axis_taps taps[2];
    bn_grid grid;    /* what differs between items is set for each */
    ptrdiff_t first; /* from a group's first value in `from` to that of the first tap */
    bn_weights weights;
    char *packed;
} bn_phase;

/* The images and the groups of rows that an item covers. */
typedef struct {
    ptrdiff_t image, images, group, groups;
} bn_item;

/* Input channels of each output channel. */
ptrdiff_t bn_inputs_of(const bn_relation *r);
/* Bytes of an image of an item in the buffers. */
size_t bn_from_bytes(const bn_relation *r);
size_t bn_to_bytes(const bn_relation *r);
/* Whether the pixels of `to` are pooled before they are stored. */
int bn_pools_item(const bn_relation *r);
/* This many channels in whole vectors. */
ptrdiff_t bn_vector_channels(const bn_convolution *call, ptrdiff_t channels);
/* Items whose pixels stay in a core's cache, and at least `wanted` in all, if there are so many. With
   winograd > 0, tiles are computed where that is possible and there are so many channels. */
bn_relation bn_relate(const bn_convolution *call, int gradient, ptrdiff_t wanted, ptrdiff_t winograd);
/* Fill a phase, but for `at`, `packed` and what differs between items. */
void bn_set_phase(const bn_relation *r, bn_phase *p);
/* The groups, of those before `end`, for which the pixels of one tap are inside of the image. */
bn_range bn_groups_inside(const bn_relation *r, int axis, const bn_axis_taps *t, ptrdiff_t tap, ptrdiff_t end);
bn_item bn_item_at(const bn_relation *r, ptrdiff_t i);
/* The pixels of `from` for an item: in the buffer, or in the images themselves if they can be read there.
   Sets the grid's step from image to image. */
const char *bn_load_from(const bn_relation *r, bn_item it, char *buffer, bn_grid *grid);
/* Where an item's pixels of `to` are: in the buffer, or in the images if they are laid out like it. Sets
   the grid's step from image to image. */
char *bn_place_to(const bn_relation *r, bn_item it, char *buffer, bn_grid *grid);
/* Copy an item's pixels, some of their channels, from the buffer to images that are like `to`, or into it. */
void bn_copy_item(const bn_relation *r, const bn_images *images, bn_item it, char *buffer, int load,
                  ptrdiff_t channel, ptrdiff_t channels);
/* The same with `to`. */
void bn_copy_to(const bn_relation *r, bn_item it, char *buffer, int load, ptrdiff_t channel,
                ptrdiff_t channels);
/* How many threads to use: for small convolutions, waking threads costs more than they save. */
int bn_conv_threads(const bn_convolution *call);
/* Bytes of a worker's two buffers. */
size_t bn_buffer_bytes(const bn_relation *r);

#endif
