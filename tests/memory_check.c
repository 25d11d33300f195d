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

enum { MIB = 1024 * 1024, THREADS = 4, ROUNDS = 2000, KEPT = 4 };

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

/* A class has blocks of one size: the one that an odd size leaves fits the next of its class. */
static void check_classes(void)
{
    for (size_t size = BN_SMALLEST_BLOCK; size <= 4 * MIB; size *= 2) {
        bn_memory_free(NULL, bn_memory_malloc(NULL, size + 1), 0);
        char *data = bn_memory_malloc(NULL, size + size / 4);
        memset(data, 1, size + size / 4);
        bn_memory_free(NULL, data, 0);
        REQUIRE(bn_memory_info().used == 0);
    }
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
    check_classes();
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
