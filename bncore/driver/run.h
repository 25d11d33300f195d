/* An operation and its passes over chunks. operations.c says what is done to a chunk, and between the
   passes; run.c goes over the chunks as the plan says. */
#ifndef BN_RUN_H
#define BN_RUN_H

#include "operations.h"
#include "plan.h"

typedef struct bn_operation bn_operation;

/* What is done to channels `begin` to `end`. */
typedef void (*bn_channel_step)(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end);
/* A kernel on the tensors' parts of chunk k. */
typedef void (*bn_chunk_step)(const bn_operation *op, const bn_tensors *t, const bn_chunk *chunk,
                              ptrdiff_t k);

/* How a channel is summed: at first, and again if that was not good. */
typedef enum { BN_FIRST, BN_ABOUT_MEAN, BN_IN_DOUBLE, BN_IN_DOUBLE_ABOUT_MEAN, BN_SUMMED } bn_sum_state;

static inline unsigned bn_bit_of(bn_sum_state state) { return 1u << state & ~(1u << BN_SUMMED); }

static inline int bn_is_in_double(bn_sum_state state)
{
    return state == BN_IN_DOUBLE || state == BN_IN_DOUBLE_ABOUT_MEAN;
}

typedef struct {
    bn_channel_step before;
    bn_chunk_step sum, sum_in_double; /* NULL for an operation without sums */
    /* Make results of the sums of those channels that were in this state, all of them at first, and find
       their next one, which must be a later one. Returns the states in which channels are summed again, a
       bit for each (bn_bit_of). 0 at first: all are good, and no state is set. */
    unsigned (*take_sums)(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, bn_sum_state state);
    bn_channel_step between; /* from results to what `write` needs; may be NULL */
    bn_chunk_step write;     /* NULL for an operation that writes no tensor */
} bn_steps;

struct bn_operation {
    const bn_call *call;
    const bn_steps *steps;
    bn_plan plan;
    bn_epilogue epilogue;
    bn_channel_values values; /* the call's, or found by this operation */

    /* work space */
    bn_coefficients coefficients; /* [fold][channel] */
    double *guess, *spread, *var; /* [statistic] */
    void *rounded_guess;          /* [statistic], or channels-last [fold][channel]: as the kernels take it */
    bn_sum_state *state;          /* [statistic]; of sums of dy, [channel] */
    double *sum_a, *sum_b;        /* [chunk][statistic], or [chunk][channel] */
    double *group_g, *group_g_xm; /* [statistic]: of sums of dy, where channels share a statistic */
    char *run_weight, *run_bias;  /* [value of a run] */
    double *run_sums;             /* [part][2][value of a run] */
    ptrdiff_t run_pitch;          /* from one of these vectors to the next */
    char *gathered;               /* [worker][gathered tensor][value] */
    ptrdiff_t gathered_bytes;     /* of one tensor */
    int gathers;                  /* tensors */

    /* results; NULL where the operation has none */
    double *count, *mean, *m2; /* [statistic] */
    double *sum_g, *sum_g_xm;  /* [channel] */
};

/* Adjoining channels that are summed as one: those of a statistic where it is known before they are summed,
   else 1. */
static inline ptrdiff_t bn_summed_together(const bn_operation *op)
{
    return op->sum_g ? 1 : op->values.span;
}

/* The plan of one pass or two over such chunks. */
bn_plan bn_plan_for(const bn_call *call, bn_partition cut, int has_sums);

void bn_run(const bn_operation *op);

#endif
