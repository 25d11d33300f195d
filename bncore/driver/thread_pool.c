#include "thread_pool.h"

#ifdef BN_HAS_POOL

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "host_team.h"
#include "parallel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define RELAX() _mm_pause()
#else
#define RELAX() atomic_signal_fence(memory_order_seq_cst)
#endif

/* How often an idle thread checks for the next loop before it sleeps: first spinning, then offering its
   core to other threads, above all to NumPy's BLAS. Waking a sleeping thread takes too long for a loop
   of a tenth of a millisecond, and may place it behind its caller on the same core. */
enum { SPINS = 2000, YIELDS = 4000 };

/* The pool runs one loop at a time; a second caller meanwhile works alone. `lock` guards all members
   but the atomic ones. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    int threads, sleeping;
    atomic_flag taken;        /* set while a caller uses the pool */
    atomic_uint loop;         /* number of the loop; a new one is what idle threads wait for */
    int open;                 /* the helpers up to this number may join the loop */
    atomic_int helping;       /* helpers that have joined and not left */
    int shares;               /* one for each worker */
    ptrdiff_t each;           /* ranges of a share */
    bn_pool_body body;
    void *context;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

/* How many ranges of each share are taken. Each number has a cache line of its own. */
static struct {
    _Alignas(64) atomic_ptrdiff_t ranges;
} taken[BN_MOST_THREADS];

/* A worker's own share, then what is left of the others'. */
static void work(int worker)
{
    for (int i = 0, share = worker; i < pool.shares; i++, share = (share + 1) % pool.shares) {
        ptrdiff_t k;
        while ((k = atomic_fetch_add(&taken[share].ranges, 1)) < pool.each)
            pool.body(pool.context, share * pool.each + k, worker);
    }
}

/* What a thread of the program's own team does; there may be more of them than shares. */
static void work_in_team(void *unused, int worker)
{
    (void)unused;
    if (worker < pool.shares) work(worker);
}

/* Join the loop as the worker of this number, unless it needs no more helpers. */
static int join(int worker)
{
    if (worker > pool.open) return 0;
    atomic_fetch_add(&pool.helping, 1);
    return 1;
}

static void *help(void *number)
{
    const int worker = (int)(intptr_t)number;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS + YIELDS && atomic_load(&pool.loop) == seen; i++)
            if (i < SPINS) RELAX();
            else sched_yield();
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.loop) == seen) {
            pool.sleeping++;
            pthread_cond_wait(&pool.work, &pool.lock);
            pool.sleeping--;
        }
        seen = atomic_load(&pool.loop);
        const int joined = join(worker);
        pthread_mutex_unlock(&pool.lock);
        if (joined) {
            work(worker);
            atomic_fetch_sub(&pool.helping, 1);
        }
    }
    return NULL;
}

/* After fork, in the child: threads are not inherited, so the pool starts afresh. */
static void forget_threads(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL);
    pool.threads = pool.sleeping = pool.open = 0;
    atomic_store(&pool.helping, 0);
    atomic_flag_clear(&pool.taken);
    bn_host_forget();
}

/* Whether a forked child will forget the threads that it has not. */
static int survives_fork(void)
{
    static int known = 0;
    if (!known) known = pthread_atfork(NULL, NULL, forget_threads) == 0;
    return known;
}

static void start_threads(int wanted)
{
    sigset_t all, before; /* a new thread inherits the mask: signals go to the program's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.threads < wanted) {
        pthread_t thread;
        void *const number = (void *)(intptr_t)(pool.threads + 1);
        if (pthread_create(&thread, NULL, help, number) != 0) break;
        pthread_detach(thread);
        pool.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void bn_pool_run(int shares, ptrdiff_t each, bn_pool_body body, void *context)
{
    const int helpers = shares - 1;
    if (helpers < 1 || atomic_flag_test_and_set(&pool.taken)) {
        for (ptrdiff_t range = 0; range < shares * each; range++) body(context, range, 0);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    pool.body = body, pool.context = context, pool.shares = shares, pool.each = each;
    for (int share = 0; share < shares; share++) atomic_store(&taken[share].ranges, 0);
    if (bn_host_wanted() && survives_fork()) {
        pthread_mutex_unlock(&pool.lock);
        bn_host_run(work_in_team, NULL);
        atomic_flag_clear(&pool.taken);
        return;
    }
    if (pool.threads < helpers && survives_fork()) start_threads(helpers);
    pool.open = helpers;
    atomic_fetch_add(&pool.loop, 1);
    if (pool.sleeping > 0) pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);

    work(0);

    pthread_mutex_lock(&pool.lock);
    pool.open = 0; /* a helper that comes now finds no work */
    pthread_mutex_unlock(&pool.lock);
    /* the helpers that joined are finishing their last range */
    for (int i = 0; atomic_load(&pool.helping) > 0; i++)
        if (i < SPINS) RELAX();
        else sched_yield();
    atomic_flag_clear(&pool.taken);
}

#endif
