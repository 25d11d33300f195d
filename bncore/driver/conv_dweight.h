/* The gradient of a convolution's weight, and of its bias. */
#ifndef BN_CONV_DWEIGHT_H
#define BN_CONV_DWEIGHT_H

#include "convolution.h"

/* For one group, or depthwise for all. dbias may be NULL. Returns 0 when out of memory. */
int bn_convolve_dweight_of(const bn_convolution *call, void *dbias);

#endif
