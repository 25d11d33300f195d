/* CPU features, which no other file knows: the instruction sets whose kernels were compiled and run. */
#ifndef BN_DISPATCH_H
#define BN_DISPATCH_H

#include "kernels.h"

/* The i-th instruction set that this CPU has, the baseline first; NULL beyond the last. */
const bn_isa *bn_supported_isa(int i);

#endif
