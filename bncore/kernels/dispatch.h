/* The only place that knows CPUs: which instruction sets' kernels are here and run. */
#ifndef BN_DISPATCH_H
#define BN_DISPATCH_H

#include "kernels.h"

/* The i-th instruction set that this CPU has, baseline first; NULL beyond the last. */
const bn_isa *bn_supported_isa(int i);

#endif
