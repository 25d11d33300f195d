#include "host_team.h"

#include <stddef.h>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>

/* The entry points that compilers call for a parallel region; LLVM's and Intel's runtimes have them too. */
typedef void (*parallel_region)(void (*body)(void *), void *data, unsigned threads, unsigned flags);
typedef int (*thread_number)(void);

static parallel_region parallel = NULL;
static thread_number number = NULL;

int bn_host_find(const char *path)
{
    void *const library = dlopen(path, RTLD_NOLOAD | RTLD_LAZY);
    if (library == NULL) return 0;
    *(void **)&parallel = dlsym(library, "GOMP_parallel"); /* POSIX's way to make a function of a void * */
    *(void **)&number = dlsym(library, "omp_get_thread_num");
    if (number == NULL) parallel = NULL;
    return parallel != NULL;
}

typedef struct {
    bn_host_task task;
    void *context;
} call;

static void on_each_thread(void *data)
{
    const call *c = data;
    c->task(c->context, number());
}

void bn_host_run(bn_host_task task, void *context)
{
    call c = {task, context};
    /* 0: the team that the program has. Another number of threads would end some of them, or start others. */
    parallel(on_each_thread, &c, 0, 0);
}

static int found(void)
{
    return parallel != NULL;
}

void bn_host_forget(void)
{
    parallel = NULL;
}
#else
int bn_host_find(const char *path)
{
    (void)path;
    return 0;
}

void bn_host_run(bn_host_task task, void *context)
{
    task(context, 0);
}

static int found(void)
{
    return 0;
}

void bn_host_forget(void)
{
}
#endif

static _Thread_local int wanted = 0;

int bn_host_use(int on)
{
    const int before = wanted;
    wanted = on;
    return before;
}

int bn_host_wanted(void)
{
    return wanted && found();
}
