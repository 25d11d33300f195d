/* The OpenMP team of the program around us: its threads do our loops between its own.

   After a parallel region, OpenMP's threads spin on their cores for a while in case another one follows. Threads
   of our own would have to wait for these cores; a spinning thread takes a loop at once. */
#ifndef BN_HOST_TEAM_H
#define BN_HOST_TEAM_H

/* Find the functions of the OpenMP runtime in this library, which must be loaded already; 1 if they are
   there. It may be called once more with another library. */
int bn_host_find(const char *path);

/* Whether loops that this thread begins from now on are done by the team; returns what was so before. */
int bn_host_use(int on);
int bn_host_wanted(void);

/* Call task(context, worker) on all threads of the team, with their numbers from 0 on. Within a parallel region
   of the program there is only the worker 0. */
typedef void (*bn_host_task)(void *context, int worker);
void bn_host_run(bn_host_task task, void *context);

/* After fork, the child has no team. */
void bn_host_forget(void);

#endif
