/* The allocator of outputs without Python, whose lock would keep threads apart: the four functions'
   corner cases, threads that write into their blocks, forks amid them. Exits with 0 if all held. */
#include "memory.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, THREADS = 4, ROUNDS = 2000, KEPT = 8 };

#define REQUIRE(condition)                                                                         \
    if (!(condition)) fprintf(stderr, "line %d: %s\n", __LINE__, #condition), _exit(1)

static int all(const char *data, char value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] != value) return 0;
    return 1;
}

static void check_calloc(void)
{
    char *dirty = bn_memory_malloc(NULL, MIB);
    memset(dirty, 1, MIB);
    bn_memory_free(NULL, dirty, MIB);
    char *zeros = bn_memory_calloc(NULL, 1024, 1024);
    REQUIRE(zeros == dirty && all(zeros, 0, MIB));
    bn_memory_free(NULL, zeros, MIB);
    REQUIRE(!bn_memory_calloc(NULL, SIZE_MAX / 4 + 2, 4));
}

static void check_realloc(void)
{
    static const size_t sizes[] = {1, 100, 70000, 3 * MIB, 3 * MIB + 1, 2 * MIB, 80000, 10};
    char *data = bn_memory_realloc(NULL, NULL, 50);
    size_t size = 50;
    memset(data, 7, size);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        data = bn_memory_realloc(NULL, data, sizes[i]);
        REQUIRE(all(data, 7, size < sizes[i] ? size : sizes[i]));
        size = sizes[i];
        memset(data, 7, size);
    }
    REQUIRE(!bn_memory_realloc(NULL, data, SIZE_MAX) && all(data, 7, size));
    bn_memory_free(NULL, data, size);
}

/* All that was taken comes back as one piece, whatever the order. */
static void check_joining(void)
{
    enum { PIECES = 7, SIZE = 100000 };
    char *pieces[PIECES];
    bn_memory_trim();
    for (int step = 1; step < PIECES; step++) {
        for (int i = 0; i < PIECES; i++) {
            pieces[i] = bn_memory_malloc(NULL, SIZE);
            memset(pieces[i], i, SIZE);
        }
        for (int i = 0; i < PIECES; i++) REQUIRE(all(pieces[i], (char)i, SIZE));
        for (int i = 0; i < PIECES; i++) bn_memory_free(NULL, pieces[i * step % PIECES], 0);
        const size_t hits = bn_memory_info().hits;
        char *data = bn_memory_malloc(NULL, PIECES * SIZE);
        REQUIRE(data == pieces[0] && bn_memory_info().hits == hits + 1);
        memset(data, 1, PIECES * SIZE);
        bn_memory_free(NULL, data, 0);
        REQUIRE(bn_memory_info().used == 0);
    }
}

/* A hole whose memory went back to the system, and its neighbours. */
static void check_holes(void)
{
    char *a = bn_memory_malloc(NULL, MIB), *b = bn_memory_malloc(NULL, MIB), *c = bn_memory_malloc(NULL, MIB);
    memset(a, 1, MIB), memset(b, 2, MIB), memset(c, 3, MIB);
    bn_memory_free(NULL, b, 0);
    REQUIRE(bn_memory_trim() >= MIB && bn_memory_info().held == 0);
    REQUIRE(all(a, 1, MIB) && all(c, 3, MIB));
    const size_t misses = bn_memory_info().misses;
    REQUIRE(bn_memory_malloc(NULL, MIB) == b && bn_memory_info().misses == misses + 1);
    bn_memory_free(NULL, b, 0);
    bn_memory_trim();
    bn_memory_free(NULL, a, 0);
    const size_t held = bn_memory_info().held; /* the hole is not counted */
    REQUIRE(held >= MIB && held < MIB + MIB / 4);
    bn_memory_trim(); /* a becomes one with the hole */
    REQUIRE(bn_memory_info().held == 0 && all(c, 3, MIB));
    REQUIRE(bn_memory_malloc(NULL, 2 * MIB) == a);
    bn_memory_free(NULL, a, 0);
    bn_memory_free(NULL, c, 0);
    REQUIRE(bn_memory_malloc(NULL, 3 * MIB) == a);
    bn_memory_free(NULL, a, 0);
    bn_memory_trim();
    REQUIRE(bn_memory_info().held == 0 && bn_memory_info().used == 0);
}

static void check_extremes(void)
{
    REQUIRE(!bn_memory_malloc(NULL, SIZE_MAX) && !bn_memory_malloc(NULL, PTRDIFF_MAX));
    void *nothing = bn_memory_malloc(NULL, 0);
    REQUIRE(nothing);
    bn_memory_free(NULL, nothing, 0);
    bn_memory_free(NULL, NULL, 0);
}

static void *churn(void *seed)
{
    unsigned state = (unsigned)(uintptr_t)seed;
    char *kept[KEPT] = {0}, value[KEPT];
    size_t sizes[KEPT] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        state = state * 1664525u + 1013904223u;
        int k = state >> 16 & (KEPT - 1);
        if (kept[k]) REQUIRE(all(kept[k], value[k], sizes[k]));
        bn_memory_free(NULL, kept[k], 0);
        sizes[k] = BN_SMALLEST_BLOCK + (state >> 20) * 8 % BN_SMALLEST_BLOCK;
        if (state >> 28 == 0) sizes[k] *= 20; /* a few that hold many of the others */
        value[k] = (char)state;
        kept[k] = bn_memory_malloc(NULL, sizes[k]);
        memset(kept[k], value[k], sizes[k]);
        if (round % 500 == 0) bn_memory_trim();
    }
    for (int k = 0; k < KEPT; k++) bn_memory_free(NULL, kept[k], 0);
    return NULL;
}

static void check_fork(void)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(20); /* a hang ends here */
        for (size_t size = BN_SMALLEST_BLOCK; size < MIB; size += BN_SMALLEST_BLOCK) {
            char *data = bn_memory_malloc(NULL, size);
            memset(data, 1, size);
            bn_memory_free(NULL, data, size);
        }
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
    pthread_t threads[THREADS];
    bn_memory_start();
    bn_memory_start();
    bn_memory_set_limit(8 * MIB);
    check_calloc();
    check_realloc();
    check_joining();
    check_holes();
    check_extremes();
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < 100; i++) check_fork();
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    REQUIRE(bn_memory_info().used == 0 && bn_memory_info().held <= 8 * MIB);
    bn_memory_set_limit(0);
    REQUIRE(bn_memory_info().held == 0);
    return 0;
}
