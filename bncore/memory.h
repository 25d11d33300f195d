/* Recycled memory for outputs: freed blocks are kept for the next requests. So a training loop, whose
   outputs have the same sizes in each step, does not wait for the system to map and zero pages. Any thread may call any function at any time, and a forked child owns copies of all blocks. */
#ifndef BN_MEMORY_H
#define BN_MEMORY_H

#include <stddef.h>

enum { BN_SMALLEST_BLOCK = 64 * 1024 }; /* bytes; smaller requests go to malloc, which recycles them */

typedef struct {
    size_t limit;        /* bytes that may be kept */
    size_t held;         /* bytes that are kept */
    size_t used;         /* bytes that were handed out and not yet freed */
    size_t hits, misses; /* requests served from kept blocks, and from the system */
} bn_memory_counts;

/* Must be called before all others: makes fork safe. */
void bn_memory_start(void);

/* The functions of NumPy's PyDataMemAllocator. `context` and the size given to free are not used.
   Memory is aligned to 64 bytes. NULL when out of memory. All memory that the core asks for comes from
   here, so that builds with BN_FAILING_ALLOCATIONS can let any allocation fail: while the environment has
   BN_FAIL_ALLOC=n, the n-th does. */
void *bn_memory_malloc(void *context, size_t size);
void *bn_memory_calloc(void *context, size_t count, size_t size);
void *bn_memory_realloc(void *context, void *data, size_t size);
void bn_memory_free(void *context, void *data, size_t size);

bn_memory_counts bn_memory_info(void);
/* Kept blocks beyond the limit go back to the system, longest unused first. */
void bn_memory_set_limit(size_t limit);
/* Give all kept blocks back to the system; returns their bytes. */
size_t bn_memory_trim(void);

#endif
