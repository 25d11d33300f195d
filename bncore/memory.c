#include "memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"

/* ---- the lock ---- */

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
static SRWLOCK mutex = SRWLOCK_INIT;
static void lock(void) { AcquireSRWLockExclusive(&mutex); }
static void unlock(void) { ReleaseSRWLockExclusive(&mutex); }
void bn_memory_start(void) {}
#else
#include <pthread.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t started = PTHREAD_ONCE_INIT;
static void lock(void) { pthread_mutex_lock(&mutex); }
static void unlock(void) { pthread_mutex_unlock(&mutex); }
/* the mutex is held over fork, so that in the child it is free and all blocks are consistent */
static void start(void) { pthread_atfork(lock, unlock, unlock); }
void bn_memory_start(void) { pthread_once(&started, start); }
#endif

/* ---- blocks ---- */

enum {
    LINE = 64,
    SEGMENT = 256 * 1024 * 1024, /* bytes of a segment, at least, if there is room */
    STEPS = 4,                   /* size classes from each power of two to the next */
    CLASSES = STEPS * 64,
    SEARCHED = 16,               /* blocks of a class that are looked at for the one that fits best */
    SPARE = 4,                   /* used and held blocks are at most 1 + 1 / SPARE of the peak use */
};

/* A block is used; or it is free, and its memory is held, or has been given back to the system. */
typedef enum { USED, HELD, RETURNED } block_state;

/* Header of a block, right before its data. The blocks of a segment lie side by side. Free neighbours of one
   state become one block, so two held ones never adjoin, nor do two returned ones. */
typedef struct block {
    struct segment *segment; /* NULL for a block from malloc */
    struct block *before;    /* in the segment; of a block from malloc, what malloc returned */
    size_t size;             /* in bytes, with the header: a multiple of LINE */
    block_state state;
    size_t freed;                 /* the number of the free that made it free */
    struct block *newer, *older;  /* in the stack of its class and state, while it is free */
} block;

/* Header of a segment: memory from the system, with blocks up to the end of the last one. What is behind has
   never been touched, or has been given back. */
typedef struct segment {
    size_t length;
    block *last;
    struct segment *next, *previous;
} segment;

/* The mutex guards these. */
static struct {
    block *newest, *oldest;
} stacks[RETURNED + 1][CLASSES];
static segment *segments;
static bn_memory_counts counts;
static size_t frees, peak; /* of the bytes used */

static block *block_of(void *data) { return (block *)((char *)data - LINE); }
static void *data_of(block *b) { return (char *)b + LINE; }
static char *end_of(block *b) { return (char *)b + b->size; }
static block *next_of(block *b) { return b == b->segment->last ? NULL : (block *)end_of(b); }
static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t whole(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

/* ---- stacks of free blocks; the caller holds the lock ---- */

/* The class of a size; those of higher classes are larger. */
static int class_of(size_t size)
{
    int class = 0;
    size_t c = BN_SMALLEST_BLOCK;
    for (; c <= size - c; c *= 2) class += STEPS;
    return class + (int)((size - c) / (c / STEPS));
}

static void push(block *b, block_state state)
{
    const int class = class_of(b->size);
    b->state = state;
    b->newer = NULL;
    b->older = stacks[state][class].newest;
    if (b->older) b->older->newer = b;
    else stacks[state][class].oldest = b;
    stacks[state][class].newest = b;
    if (state == HELD) counts.held += b->size;
}

static void pop(block *b)
{
    const int class = class_of(b->size);
    if (b->newer) b->newer->older = b->older;
    else stacks[b->state][class].newest = b->older;
    if (b->older) b->older->newer = b->newer;
    else stacks[b->state][class].oldest = b->newer;
    if (b->state == HELD) counts.held -= b->size;
    b->state = USED;
}

/* The smallest free block that is large enough; of several, the one freed last, which caches may hold. */
static block *fitting(block_state state, size_t size)
{
    block *best = NULL;
    for (int class = class_of(size); class < CLASSES && !best; class++) {
        int searched = 0;
        for (block *b = stacks[state][class].newest; b && searched++ < SEARCHED; b = b->older)
            if (b->size >= size && (!best || b->size < best->size)) best = b;
    }
    return best;
}

/* ---- segments; the caller holds the lock ---- */

static size_t room_behind(segment *s) { return (char *)s + s->length - end_of(s->last); }

/* A block at the start of a new segment. */
static block *in_new_segment(size_t size)
{
    const size_t least = whole(LINE + size, BN_HUGE_PAGE);
    size_t length = least > SEGMENT ? least : SEGMENT;
    segment *s = bn_pages_map(length);
    if (!s) s = bn_pages_map(length = least);
    if (!s) return NULL;
    block *b = (block *)((char *)s + LINE);
    *b = (block){.segment = s, .size = size, .state = USED};
    *s = (segment){.length = length, .last = b, .next = segments};
    if (segments) segments->previous = s;
    segments = s;
    return b;
}

/* A block behind all others of a segment, or the last one, if it is free, made larger. */
static block *behind_the_last(segment *s, size_t size)
{
    block *last = s->last;
    const int grows = last->state != USED;
    if (room_behind(s) + (grows ? last->size : 0) < size) return NULL;
    if (grows) {
        pop(last);
        last->size = size;
        return last;
    }
    block *b = (block *)end_of(last);
    *b = (block){.segment = s, .before = last, .size = size, .state = USED};
    return s->last = b;
}

static block *untouched(size_t size)
{
    for (segment *s = segments; s; s = s->next) {
        block *b = behind_the_last(s, size);
        if (b) return b;
    }
    return in_new_segment(size);
}

static void unmap(segment *s)
{
    if (s->next) s->next->previous = s->previous;
    if (s->previous) s->previous->next = s->next;
    else segments = s->next;
    bn_pages_unmap(s, s->length);
}

/* Take the last block, which adjoins no other returned one, out of its segment. */
static void drop_last(segment *s)
{
    s->last = s->last->before;
    if (!s->last) unmap(s);
}

/* ---- free blocks; the caller holds the lock ---- */

/* Two neighbours as one; the second one's header is a part of the first one's data then. */
static void join(block *b, block *next)
{
    if (next == b->segment->last) b->segment->last = b;
    else next_of(next)->before = b;
    b->size += next->size;
}

/* Make a block free, and one with its free neighbours of the same state. */
static void make_free(block *b, block_state state)
{
    block *next = next_of(b), *before = b->before;
    if (next && next->state == state) pop(next), join(b, next);
    if (before && before->state == state) pop(before), join(before, b), b = before;
    b->freed = ++frees;
    if (state == RETURNED && b == b->segment->last) drop_last(b->segment);
    else push(b, state);
}

/* Give the memory of a block that is in no stack back to the system. */
static void give_back(block *b)
{
    bn_pages_discard(data_of(b), end_of(b));
    make_free(b, RETURNED);
}

/* Give held blocks beyond a limit back, longest unused first. */
static void give_back_beyond(size_t limit)
{
    while (counts.held > limit) {
        block *oldest = NULL;
        for (int i = 0; i < CLASSES; i++) {
            block *b = stacks[HELD][i].oldest;
            if (b && (!oldest || b->freed < oldest->freed)) oldest = b;
        }
        pop(oldest);
        give_back(oldest);
    }
}

/* Make what a block has beyond a size a free block. */
static void split(block *b, size_t size, block_state state)
{
    if (b->size - size < BN_SMALLEST_BLOCK) return;
    block *rest = (block *)((char *)b + size), *next = next_of(b);
    *rest = (block){.segment = b->segment, .before = b, .size = b->size - size, .freed = b->freed};
    if (next) next->before = rest;
    else b->segment->last = rest;
    b->size = size;
    push(rest, state);
}

static block *take(size_t size)
{
    for (block_state state = HELD; state <= RETURNED; state++) {
        block *b = fitting(state, size);
        if (!b) continue;
        pop(b);
        split(b, size, state);
        state == HELD ? counts.hits++ : counts.misses++;
        return b;
    }
    counts.misses++;
    return untouched(size);
}

static block *allocated(size_t size)
{
    lock();
    const size_t misses = counts.misses;
    block *b = take(size);
    if (!b) {
        give_back_beyond(0);
        b = take(size), counts.misses = misses + 1;
    }
    if (b) {
        counts.used += b->size;
        if (counts.used > peak) peak = counts.used;
        /* Sizes that change from request to request would else leave more and more that nobody asks for. */
        if (counts.misses > misses) give_back_beyond(peak + peak / SPARE - counts.used);
    }
    unlock();
    return b;
}

static block *from_malloc(size_t size)
{
    void *start = malloc(size + LINE);
    if (!start) return NULL;
    block *b = (block *)whole((uintptr_t)start, LINE);
    *b = (block){.before = start, .size = size};
    return b;
}

/* ---- allocations that fail on purpose ---- */

#ifdef BN_FAILING_ALLOCATIONS
/* Whether this allocation is the n-th since the environment's BN_FAIL_ALLOC became n. */
static int must_fail(void)
{
    static long wanted, left;
    lock();
    const char *text = getenv("BN_FAIL_ALLOC");
    const long n = text ? atol(text) : 0;
    if (n != wanted) wanted = left = n;
    const int last = left == 1;
    if (left > 0) left--;
    unlock();
    return last;
}
#else
static int must_fail(void) { return 0; }
#endif

/* ---- NumPy's four functions ---- */

void *bn_memory_malloc(void *context, size_t size)
{
    (void)context;
    if (must_fail()) return NULL;
    if (size > PTRDIFF_MAX - 2 * (size_t)SEGMENT) return NULL;
    const size_t total = whole(LINE + size, LINE);
    block *b = size < BN_SMALLEST_BLOCK ? from_malloc(total) : allocated(total);
    return b ? data_of(b) : NULL;
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
    const size_t before = block_of(data)->size - LINE;
    if (size <= before && size > before / 2) return data;
    void *moved = bn_memory_malloc(context, size);
    if (!moved) return NULL;
    memcpy(moved, data, smaller(before, size));
    bn_memory_free(context, data, before);
    return moved;
}

void bn_memory_free(void *context, void *data, size_t size)
{
    (void)context, (void)size; /* NumPy derives the size from the array's shape, which users can set */
    if (!data) return;
    block *b = block_of(data);
    if (!b->segment) {
        free(b->before);
        return;
    }
    lock();
    counts.used -= b->size;
    if (b->size > counts.limit) give_back(b);
    else make_free(b, HELD);
    give_back_beyond(counts.limit);
    unlock();
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
    give_back_beyond(limit);
    unlock();
}

size_t bn_memory_trim(void)
{
    lock();
    const size_t held = counts.held;
    give_back_beyond(0);
    unlock();
    return held;
}
