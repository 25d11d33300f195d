/* Memory of outputs, recycled: a block that is freed waits for the next request of its size, so
   that a steady loop neither faults pages in nor zeroes them. Nothing here knows Python. Any thread
   may call any function at any time, and a forked child owns copies of all blocks. */
#ifndef BN_MEMORY_H
#define BN_MEMORY_H

#include <stddef.h>

enum { BN_SMALLEST_BLOCK = 64 * 1024 }; /* below, nothing is recycled: malloc does it as well */

typedef struct {
    size_t limit;        /* bytes that may wait */
    size_t held;         /* bytes that wait */
    size_t used;         /* bytes that were handed out and not yet freed */
    size_t hits, misses; /* requests served from waiting blocks, and from the system */
} bn_memory_counts;

/* Once, before all others: what fork needs. */
void bn_memory_start(void);

/* NumPy's PyDataMemAllocator: `context` is not used, and neither is the size that is freed. Memory
   is aligned to 64 bytes, from 2 MiB on to 2 MiB. NULL when out of memory. */
void *bn_memory_malloc(void *context, size_t size);
void *bn_memory_calloc(void *context, size_t count, size_t size);
void *bn_memory_realloc(void *context, void *data, size_t size);
void bn_memory_free(void *context, void *data, size_t size);

bn_memory_counts bn_memory_info(void);
/* What waits beyond the limit goes back to the system, longest unused first. */
void bn_memory_set_limit(size_t limit);
/* All that waits goes back to the system; how many bytes that were. */
size_t bn_memory_trim(void);

#endif
