/* Normalization of each sample by itself, for images with their channels last in memory: operations on each
   of them. Planar samples need nothing of their own; they are one operation, whose channels are those of all
   samples. */
#ifndef BN_SAMPLES_H
#define BN_SAMPLES_H

#include "operations.h"

/* bn_forward and bn_backward for `samples` of these. The call is that of the first; tensors of the next one
   begin `bytes` later, and results follow each other. */
int bn_forward_samples(const bn_call *call, ptrdiff_t samples, ptrdiff_t bytes, double *count,
                       double *mean, double *m2);
int bn_backward_samples(const bn_call *call, ptrdiff_t samples, ptrdiff_t bytes, double *sum_g,
                        double *sum_g_xm);

#endif
