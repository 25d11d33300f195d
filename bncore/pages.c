#include "pages.h"

#include <stdint.h>

static char *aligned_up(char *p, size_t alignment)
{
    return p + (-(uintptr_t)p & (alignment - 1));
}

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

void *bn_pages_map(size_t length)
{
    return VirtualAlloc(NULL, length, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void bn_pages_unmap(void *start, size_t length) { (void)length, VirtualFree(start, 0, MEM_RELEASE); }

void bn_pages_discard(char *begin, char *end)
{
    enum { PAGE = 4096 };
    begin = aligned_up(begin, PAGE), end -= (uintptr_t)end % PAGE;
    if (begin < end) VirtualAlloc(begin, end - begin, MEM_RESET, PAGE_READWRITE);
}
#else
#include <sys/mman.h>
#include <unistd.h>

void *bn_pages_map(size_t length)
{
    const size_t more = length + BN_HUGE_PAGE; /* what is too much for the alignment goes back */
    char *start = mmap(NULL, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (start == MAP_FAILED) return NULL;
    char *data = aligned_up(start, BN_HUGE_PAGE), *end = data + length;
    if (data > start) munmap(start, data - start);
    if (start + more > end) munmap(end, start + more - end);
#ifdef MADV_HUGEPAGE
    madvise(data, length, MADV_HUGEPAGE);
#endif
    return data;
}

void bn_pages_unmap(void *start, size_t length) { munmap(start, length); }

void bn_pages_discard(char *begin, char *end)
{
    const size_t page = sysconf(_SC_PAGESIZE);
    begin = aligned_up(begin, page), end -= (uintptr_t)end % page;
    if (begin < end) madvise(begin, end - begin, MADV_DONTNEED);
}
#endif
