/* An operation and its passes over chunks. operations.c says what is done to a chunk, and between the
   passes; run.c goes over the chunks as the plan says. */
#ifndef BN_RUN_H
#define BN_RUN_H

#include "operations.h"
#include "plan.h"

typedef struct bn_operation bn_operation;

/* What is done to channels `begin` to `end`; a chunk pass does it for chunk k of the plan's cut. */
typedef void (*bn_channel_step)(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end);
typedef void (*bn_chunk_pass)(const bn_operation *op, const bn_plan *plan, ptrdiff_t k,
                              ptrdiff_t begin, ptrdiff_t end);

typedef struct {
    bn_channel_step before;
    bn_chunk_pass sum; /* NULL for an operation without sums */
    /* Make results of the sums. Returns 0 if the channels must be summed again, which it must not ask
       for when `again` says that they have been. */
    int (*between)(const bn_operation *op, ptrdiff_t begin, ptrdiff_t end, int again);
    bn_chunk_pass write; /* NULL for an operation that writes no tensor */
} bn_steps;

struct bn_operation {
    const bn_call *call;
    const bn_steps *steps;
    bn_plan plan;
    bn_epilogue epilogue;
    bn_channel_values values; /* the call's, or found by this operation */

    /* work space */
    bn_coefficients coefficients; /* [fold][channel] */
    double *offset;               /* [fold][channel] */
    double *var;                  /* [channel] */
    double *sum_a, *sum_b;        /* [chunk][channel] */

    /* results, [channel]; NULL where the operation has none */
    double *count, *mean, *m2, *sum_g, *sum_g_xm;
};

/* The plan of one pass or two over such chunks. */
bn_plan bn_plan_for(const bn_call *call, bn_partition cut, int has_sums);

void bn_run(const bn_operation *op);

#endif
