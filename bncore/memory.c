#include "memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- the operating system ---- */

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
static SRWLOCK mutex = SRWLOCK_INIT;
static void lock(void) { AcquireSRWLockExclusive(&mutex); }
static void unlock(void) { ReleaseSRWLockExclusive(&mutex); }
void bn_memory_start(void) {}

static void *map(size_t length) { return malloc(length); }
static void unmap(void *start, size_t length) { (void)length, free(start); }
static void ask_for_huge_pages(void *data, size_t length) { (void)data, (void)length; }
#else
#include <pthread.h>
#include <sys/mman.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t started = PTHREAD_ONCE_INIT;
static void lock(void) { pthread_mutex_lock(&mutex); }
static void unlock(void) { pthread_mutex_unlock(&mutex); }
/* the mutex is held over fork, so that in the child it is free and the stacks are consistent */
static void start(void) { pthread_atfork(lock, unlock, unlock); }
void bn_memory_start(void) { pthread_once(&started, start); }

/* Not malloc, which may keep freed memory: trimming must give it back to the system. */
static void *map(size_t length)
{
    void *start = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}
static void unmap(void *start, size_t length) { munmap(start, length); }
static void ask_for_huge_pages(void *data, size_t length)
{
#ifdef MADV_HUGEPAGE
    madvise(data, length, MADV_HUGEPAGE);
#else
    (void)data, (void)length;
#endif
}
#endif

/* ---- blocks ---- */

enum {
    STEPS = 4, /* size classes from each power of two to the next: at most a quarter is wasted */
    CLASSES = STEPS * 64,
    UNCLASSED = -1,
    CACHE_LINE = 64,
    HUGE_PAGE = 2 * 1024 * 1024
};

/* Header of a block, right before its data. */
typedef struct block {
    struct block *newer, *older; /* neighbours in the stack of its class, while it is kept */
    void *start;                 /* of what the system gave */
    size_t length;               /* of what the system gave */
    size_t capacity;
    size_t freed; /* the number of the free that put it into the stack */
    int class;
} block;

/* The mutex guards these. */
static struct {
    block *newest, *oldest;
} stacks[CLASSES];
static bn_memory_counts counts;
static size_t frees;

static block *block_of(void *data)
{
    return (block *)data - 1;
}

static block *new_block(size_t capacity, int class)
{
    int large = capacity >= HUGE_PAGE;
    size_t alignment = large ? HUGE_PAGE : CACHE_LINE;
    size_t length = capacity + sizeof(block) + alignment; /* untouched pages cost nothing */
    char *start = large ? map(length) : malloc(length);
    if (!start) return NULL;
    void *data = (void *)(((uintptr_t)start + sizeof(block) + alignment - 1) & ~(alignment - 1));
    if (large) ask_for_huge_pages(data, capacity);
    block *b = block_of(data);
    *b = (block){.start = start, .length = length, .capacity = capacity, .class = class};
    return b;
}

static void free_chain(block *b)
{
    for (block *next; b; b = next) {
        next = b->older;
        if (b->capacity >= HUGE_PAGE) unmap(b->start, b->length);
        else free(b->start);
    }
}

/* ---- stacks of kept blocks; the caller holds the lock ---- */

static void push(block *b)
{
    b->freed = ++frees;
    b->newer = NULL;
    b->older = stacks[b->class].newest;
    if (b->older) b->older->newer = b;
    else stacks[b->class].oldest = b;
    stacks[b->class].newest = b;
    counts.held += b->capacity;
}

static block *removed(block *b)
{
    if (b->newer) b->newer->older = b->older;
    else stacks[b->class].newest = b->older;
    if (b->older) b->older->newer = b->newer;
    else stacks[b->class].oldest = b->newer;
    counts.held -= b->capacity;
    return b;
}

/* Remove kept blocks beyond `limit`, longest unused first. Returns a chain for free_chain. */
static block *take_excess(size_t limit)
{
    block *chain = NULL;
    while (counts.held > limit) {
        block *oldest = NULL;
        for (int i = 0; i < CLASSES; i++)
            if (stacks[i].oldest && (!oldest || stacks[i].oldest->freed < oldest->freed))
                oldest = stacks[i].oldest;
        removed(oldest)->older = chain;
        chain = oldest;
    }
    return chain;
}

/* ---- NumPy's four functions ---- */

/* The class of a size, and the capacity of its blocks. */
static int class_of(size_t size, size_t *capacity)
{
    int class = 0;
    *capacity = size;
    if (size < BN_SMALLEST_BLOCK) return UNCLASSED;
    size_t c = BN_SMALLEST_BLOCK;
    for (; c < size - c; c *= 2) class += STEPS;
    for (size_t step = c / STEPS; c < size; c += step) class++;
    *capacity = c;
    return class;
}

void *bn_memory_malloc(void *context, size_t size)
{
    (void)context;
    if (size > PTRDIFF_MAX) return NULL;
    size_t capacity;
    int class = class_of(size, &capacity);
    block *b = NULL;
    if (class != UNCLASSED) {
        lock();
        b = stacks[class].newest; /* the one freed last, which caches may still hold */
        if (b) removed(b);
        b ? counts.hits++ : counts.misses++;
        counts.used += capacity;
        unlock();
    }
    if (!b) b = new_block(capacity, class);
    if (!b && bn_memory_trim() > 0) b = new_block(capacity, class);
    if (b) return b + 1;
    if (class != UNCLASSED) {
        lock();
        counts.used -= capacity;
        unlock();
    }
    return NULL;
}

void *bn_memory_calloc(void *context, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) return NULL;
    void *data = bn_memory_malloc(context, count * size);
    if (data) memset(data, 0, count * size);
    return data;
}

void *bn_memory_realloc(void *context, void *data, size_t size)
{
    if (size > PTRDIFF_MAX) return NULL;
    if (!data) return bn_memory_malloc(context, size);
    size_t capacity, before = block_of(data)->capacity;
    int class = class_of(size, &capacity);
    if (class != UNCLASSED && class == block_of(data)->class) return data;
    void *moved = bn_memory_malloc(context, size);
    if (!moved) return NULL;
    memcpy(moved, data, before < size ? before : size);
    bn_memory_free(context, data, before);
    return moved;
}

void bn_memory_free(void *context, void *data, size_t size)
{
    (void)context, (void)size; /* NumPy derives the size from the array's shape, which users can set */
    if (!data) return;
    block *b = block_of(data), *excess = b;
    b->older = NULL;
    if (b->class != UNCLASSED) {
        lock();
        counts.used -= b->capacity;
        if (b->capacity <= counts.limit) {
            push(b);
            excess = take_excess(counts.limit);
        }
        unlock();
    }
    free_chain(excess);
}

/* ---- statistics and limits ---- */

bn_memory_counts bn_memory_info(void)
{
    lock();
    bn_memory_counts now = counts;
    unlock();
    return now;
}

void bn_memory_set_limit(size_t limit)
{
    lock();
    counts.limit = limit;
    block *excess = take_excess(limit);
    unlock();
    free_chain(excess);
}

size_t bn_memory_trim(void)
{
    lock();
    size_t held = counts.held;
    block *excess = take_excess(0);
    unlock();
    free_chain(excess);
    return held;
}
