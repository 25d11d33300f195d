/* Pages of memory from the system. */
#ifndef BN_PAGES_H
#define BN_PAGES_H

#include <stddef.h>

enum { BN_HUGE_PAGE = 2 * 1024 * 1024 }; /* bytes */

/* `length` bytes, a multiple of BN_HUGE_PAGE and aligned to it; they take no memory until they are touched.
   NULL if there is no room. */
void *bn_pages_map(size_t length);
void bn_pages_unmap(void *start, size_t length);
/* Give the memory of all whole pages from `begin` to `end` back; their addresses stay, their values do not. */
void bn_pages_discard(char *begin, char *end);

#endif
