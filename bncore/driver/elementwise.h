/* Elementwise passes over whole tensors, without Python. Any number of threads and any instruction set
   give the same bits. */
#ifndef BN_ELEMENTWISE_H
#define BN_ELEMENTWISE_H

#include "kernels/kernels.h"

/* Call the kernel for all `count` values of the tensors, on up to `threads` threads. */
void bn_elementwise(bn_elementwise_kernel kernel, void *const *tensor, ptrdiff_t count, int threads,
                    const void *options);

#endif
