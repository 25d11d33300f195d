/* Parts of one allocation, each at the beginning of a cache line. */
#ifndef BN_ARENA_H
#define BN_ARENA_H

#include <stddef.h>

#include "kernels/kernels.h"

/* Without memory, the parts are only counted. */
typedef struct {
    char *memory;
    size_t used;
} bn_arena;

static inline size_t bn_whole_lines(size_t bytes)
{
    return (bytes + BN_LINE - 1) / BN_LINE * BN_LINE;
}

static inline void *bn_take(bn_arena *a, size_t bytes)
{
    void *part = a->memory ? a->memory + a->used : NULL;
    a->used += bn_whole_lines(bytes);
    return part;
}

#endif
