/* Resampling of whole batches, without Python: images of another height and width, whose pixels are weighted
   sums of adjoining pixels, along the rows and along the columns. Any number of threads, any instruction set
   and any order in memory give the same bits. */
#ifndef BN_RESAMPLING_H
#define BN_RESAMPLING_H

#include "images.h"
#include "kernels/kernels.h"

typedef struct {
    const bn_resample_kernels *kernels;
    int threads;
    ptrdiff_t images;
    bn_images x, y;
    bn_taps taps[2]; /* along the rows, along the columns */
} bn_resampling;

/* y from x. Returns 0 when out of memory, else 1. */
int bn_resample(const bn_resampling *call);

#endif
