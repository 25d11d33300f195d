/* Elementwise passes over whole tensors, without Python. Any number of threads and any instruction set
   give the same bits. */
#ifndef BN_ELEMENTWISE_H
#define BN_ELEMENTWISE_H

#include "kernels/kernels.h"

enum { BN_MOST_OPERANDS = 5 };

/* A kernel, and the tensors of `count` values that it passes over. */
typedef struct {
    bn_elementwise_kernel kernel;
    void *tensor[BN_MOST_OPERANDS];
    ptrdiff_t count;
    const void *options;
    ptrdiff_t first_block; /* bn_elementwise_jobs sets it: its number among the blocks of all jobs */
} bn_elementwise_job;

/* Call the kernel for all `count` values of the tensors, on up to `threads` threads. */
void bn_elementwise(bn_elementwise_kernel kernel, void *const *tensor, ptrdiff_t count, int threads,
                    const void *options);

/* Do several jobs in one parallel loop. No job writes what another one reads or writes. */
void bn_elementwise_jobs(bn_elementwise_job *job, ptrdiff_t jobs, int threads);

#endif
