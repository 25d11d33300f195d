#include "operations.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/moments.h"
#include "parallel.h"
#include "partition.h"
#include "plan.h"

typedef struct operation operation;

/* What is done to a block of channels, from channel `begin` to `end`; chunk by chunk in the passes. */
typedef void (*block_step)(const operation *op, ptrdiff_t begin, ptrdiff_t end);
typedef void (*chunk_pass)(const operation *op, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t end);
typedef struct {
    block_step before; /* or NULL */
    chunk_pass first;  /* or NULL */
    int (*between)(const operation *op, ptrdiff_t begin, ptrdiff_t end, int again); /* 0: again */
    chunk_pass second; /* or NULL */
} procedure;

/* One call and the work space of its passes. */
struct operation {
    const bn_call *call;
    const procedure *steps;
    bn_partition cut;
    bn_plan plan;
    bn_channel_values values;
    bn_epilogue epilogue;
    bn_coefficients coefficients; /* [fold][channel] */
    double *shift;                /* [fold][channel] */
    double *sum_a, *sum_b;        /* [chunk][channel] */
    double *count, *mean, *m2, *var, *sum_g, *sum_g_xm;
};

static bn_views views(const operation *op, const bn_chunk *chunk)
{
    const bn_arrays *a = &op->call->arrays;
    const ptrdiff_t itemsize = op->call->kernels->itemsize;
#define VIEW(array) bn_chunk_view(&op->cut, chunk, a->array, itemsize)
    return (bn_views){VIEW(x), VIEW(residual), VIEW(y), VIEW(dy), VIEW(dx), VIEW(dresidual)};
#undef VIEW
}

static bn_coefficients coefficients_from(const operation *op, ptrdiff_t channel)
{
    const ptrdiff_t bytes = channel * op->call->kernels->realsize;
    const bn_coefficients *k = &op->coefficients;
    return (bn_coefficients){(char *)k->mean + bytes, (char *)k->scale + bytes,
                             (char *)k->shift + bytes, (char *)k->mean_g + bytes,
                             (char *)k->slope + bytes};
}

/* Repeat the channels' values for each of the rows that are taken as one. */
static void repeat(const bn_layout *layout, void *values, ptrdiff_t itemsize)
{
    const ptrdiff_t bytes = layout->channels * itemsize;
    for (ptrdiff_t f = 1; f < layout->fold; f++) memcpy((char *)values + f * bytes, values, bytes);
}

/* ---- passes over a chunk ---- */

/* Of channels `begin` to `end`. */
typedef struct {
    bn_chunk chunk;
    bn_views views;
    bn_coefficients k;
    double *sum_a, *sum_b;
} piece;

static piece piece_at(const operation *op, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t end)
{
    const ptrdiff_t at = k * op->call->layout.channels + begin;
    piece p = {.chunk = bn_chunk_at(&op->cut, k, begin, end - begin)};
    p.chunk.extent.tile = op->plan.tile;
    p.views = views(op, &p.chunk);
    p.k = coefficients_from(op, begin);
    p.sum_a = op->sum_a + at, p.sum_b = op->sum_b + at;
    return p;
}

static void stats_chunk(const operation *op, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t end)
{
    const piece p = piece_at(op, k, begin, end);
    op->call->kernels->stats(p.views.x, p.chunk.extent, op->shift + begin, p.sum_a, p.sum_b);
}

static void reduce_chunk(const operation *op, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t end)
{
    const piece p = piece_at(op, k, begin, end);
    op->call->kernels->reduce(&p.views, p.chunk.extent, p.k, &op->epilogue, p.sum_a, p.sum_b);
}

static void normalize_chunk(const operation *op, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t end)
{
    const piece p = piece_at(op, k, begin, end);
    op->call->kernels->normalize(&p.views, p.chunk.extent, p.k, &op->epilogue);
}

static void gradient_chunk(const operation *op, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t end)
{
    const piece p = piece_at(op, k, begin, end);
    op->call->kernels->gradient(&p.views, p.chunk.extent, p.k, &op->epilogue);
}

/* ---- steps before and between the passes ---- */

static void guess_shift(const operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_layout *layout = &op->call->layout;
    bn_chunk whole = {.channel = begin};
    bn_view x = bn_chunk_view(&op->cut, &whole, op->call->arrays.x, op->call->kernels->itemsize);
    x.row = op->call->arrays.x.outer_stride;
    op->call->kernels->guess_shift(
        x, (bn_extent){.rows = layout->outer, .channels = end - begin, .n = layout->inner},
        op->shift + begin);
    repeat(layout, op->shift, sizeof *op->shift);
}

static void prepare_normalize(const operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_call *call = op->call;
    call->kernels->prepare_normalize(&op->values, begin, end, &op->coefficients);
    repeat(&call->layout, op->coefficients.mean, call->kernels->realsize);
    repeat(&call->layout, op->coefficients.scale, call->kernels->realsize);
    repeat(&call->layout, op->coefficients.shift, call->kernels->realsize);
}

static void prepare_gradient(const operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_call *call = op->call;
    call->kernels->prepare_gradient(&op->values, begin, end, &op->coefficients);
    repeat(&call->layout, op->coefficients.mean_g, call->kernels->realsize);
    repeat(&call->layout, op->coefficients.slope, call->kernels->realsize);
}

static void prepare_both(const operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    prepare_normalize(op, begin, end);
    prepare_gradient(op, begin, end);
}

/* The sums of all chunks, in those of the first. */
static void add_chunks(const operation *op, ptrdiff_t begin, ptrdiff_t end)
{
    const ptrdiff_t channels = op->call->layout.channels;
    double *restrict a = op->sum_a, *restrict b = op->sum_b;
    for (ptrdiff_t k = 1; k < op->cut.chunks; k++)
        for (ptrdiff_t c = begin; c < end; c++) {
            a[c] += a[k * channels + c];
            b[c] += b[k * channels + c];
        }
}

static int find_moments(const operation *op, ptrdiff_t begin, ptrdiff_t end, int again)
{
    const bn_layout *layout = &op->call->layout;
    const double count = (double)layout->outer * (double)layout->inner;
    int good = 1;
    add_chunks(op, begin, end);
    for (ptrdiff_t c = begin; c < end; c++) {
        double mean;
        bn_moments(count, op->shift[c], op->sum_a[c], op->sum_b[c], &mean, &op->m2[c]);
        op->count[c] = count;
        if (!again && !bn_moments_good(op->sum_b[c], op->m2[c]) && isfinite(mean)) {
            op->shift[c] = mean; /* sum again about it */
            good = 0;
        }
        op->mean[c] = mean;
    }
    if (!good) repeat(layout, op->shift, sizeof *op->shift);
    return good;
}

static int find_moments_and_prepare(const operation *op, ptrdiff_t begin, ptrdiff_t end, int again)
{
    if (!find_moments(op, begin, end, again)) return 0;
    for (ptrdiff_t c = begin; c < end; c++) op->var[c] = op->m2[c] / op->count[c];
    prepare_normalize(op, begin, end);
    return 1;
}

static int find_sums(const operation *op, ptrdiff_t begin, ptrdiff_t end, int again)
{
    (void)again;
    const int single = op->call->kernels->realsize == sizeof(float);
    add_chunks(op, begin, end);
    for (ptrdiff_t c = begin; c < end; c++) {
        /* they are about the mean as the dtype has it */
        double mean = op->values.mean[c], lost = mean - (single ? (float)mean : mean);
        op->sum_g[c] = op->sum_a[c];
        op->sum_g_xm[c] = op->sum_b[c] - lost * op->sum_a[c];
    }
    return 1;
}

static int find_sums_and_prepare(const operation *op, ptrdiff_t begin, ptrdiff_t end, int again)
{
    find_sums(op, begin, end, again);
    prepare_gradient(op, begin, end);
    return 1;
}

/* ---- running the passes ---- */

static bn_plan make_plan(const operation *op)
{
    const bn_operand *operands = (const bn_operand *)&op->call->arrays;
    int arrays = 0;
    for (int i = 0; i < BN_MAX_OPERANDS; i++) arrays += operands[i].data != NULL;
    const bn_arrays *a = &op->call->arrays;
    const int backward = a->dy.data != NULL, for_sign = backward && a->y.data;
    const int read = op->steps->first ? 1 + backward + for_sign : 0; /* by both passes */
    return bn_make_plan(&op->cut, op->call->kernels->itemsize, arrays, read, op->call->threads);
}

static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static void own_blocks(const void *context, ptrdiff_t first, ptrdiff_t last)
{
    const operation *op = context;
    const procedure *steps = op->steps;
    for (ptrdiff_t block = first; block < last; block++) {
        const ptrdiff_t begin = block * op->plan.block;
        const ptrdiff_t end = min(begin + op->plan.block, op->call->layout.channels);
        steps->before(op, begin, end);
        for (int again = 0, done = !steps->first; !done; again = 1) {
            for (ptrdiff_t k = 0; k < op->cut.chunks; k++) steps->first(op, k, begin, end);
            done = steps->between(op, begin, end, again);
        }
        if (steps->second)
            for (ptrdiff_t k = 0; k < op->cut.chunks; k++) steps->second(op, k, begin, end);
    }
}

/* The group of channels that all threads are at. */
typedef struct {
    const operation *op;
    ptrdiff_t begin, end;
} group;

static ptrdiff_t blocks(const group *g)
{
    return (g->end - g->begin + g->op->plan.block - 1) / g->op->plan.block;
}

static ptrdiff_t items(const group *g) { return blocks(g) * g->op->cut.chunks; }

static void pass_item(const group *g, chunk_pass pass, ptrdiff_t i)
{
    const bn_plan *plan = &g->op->plan;
    const ptrdiff_t chunks = g->op->cut.chunks;
    const ptrdiff_t block = plan->row_by_row ? i % blocks(g) : i / chunks;
    const ptrdiff_t begin = g->begin + block * plan->block;
    pass(g->op, plan->row_by_row ? i / blocks(g) : i % chunks, begin, min(begin + plan->block, g->end));
}

static void first_pass(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const group *g = context;
    for (ptrdiff_t i = begin; i < end; i++) pass_item(g, g->op->steps->first, i);
}

/* Last in, first out: what the first pass read last may still be in a cache. */
static void second_pass(const void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const group *g = context;
    for (ptrdiff_t i = begin; i < end; i++) pass_item(g, g->op->steps->second, items(g) - 1 - i);
}

static void run_own(const operation *op)
{
    const ptrdiff_t channels = op->call->layout.channels, block = op->plan.block;
    bn_parallel_for((channels + block - 1) / block, op->plan.threads, own_blocks, op);
}

static void run_shared(const operation *op)
{
    const procedure *steps = op->steps;
    const bn_plan *plan = &op->plan;
    const ptrdiff_t channels = op->call->layout.channels;
    for (group g = {op, 0, 0}; g.begin < channels; g.begin = g.end) {
        g.end = min(g.begin + plan->group, channels);
        if (steps->before) steps->before(op, g.begin, g.end);
        for (int again = 0, done = !steps->first; !done; again = 1) {
            bn_parallel_for(items(&g), plan->threads, first_pass, &g);
            done = steps->between(op, g.begin, g.end, again);
        }
        if (steps->second) bn_parallel_for(items(&g), plan->threads, second_pass, &g);
    }
}

/* The first pass by blocks, the second in the order of memory. */
static void run_apart(const operation *op)
{
    procedure first = *op->steps, second = *op->steps;
    operation one = *op, two = *op;
    first.second = NULL, second.before = NULL, second.first = NULL;
    one.steps = &first, two.steps = &second;
    two.cut = bn_cut_fine(&op->call->layout);
    two.plan = make_plan(&two);
    run_own(&one);
    if (second.second) run_shared(&two);
}

/* ---- the operations ---- */

static operation begin(const bn_call *call, const procedure *steps)
{
    operation op = {.call = call, .steps = steps, .values = call->values};
    op.cut = steps->first ? bn_cut(&call->layout) : bn_cut_fine(&call->layout);
    op.plan = make_plan(&op);
    op.epilogue = (bn_epilogue){call->activation, call->negative_slope, op.plan.from_memory};
    return op;
}

/* `bytes` rounded up to whole cache lines. */
static size_t lines(size_t bytes) { return (bytes + BN_LINE - 1) / BN_LINE * BN_LINE; }

/* Run it with work space; 0 if there is no memory for it. */
static int finish(operation *op)
{
    const bn_layout *layout = &op->call->layout;
    const size_t row = lines((layout->fold * layout->channels + BN_PAD) * sizeof(double));
    const size_t sums = op->cut.chunks * layout->channels * sizeof(double);
    char *memory = malloc(BN_LINE + 7 * row + (op->steps->first ? 2 * sums : 0));
    if (!memory) return 0;
    char *at = (char *)lines((size_t)memory);
    op->coefficients = (bn_coefficients){at, at + row, at + 2 * row, at + 3 * row, at + 4 * row};
    op->shift = (double *)(at += 5 * row);
    op->var = (double *)(at += row);
    op->sum_a = (double *)(at += row);
    op->sum_b = (double *)(at + sums);
    if (op->mean) op->values.mean = op->mean, op->values.var = op->var;
    if (op->sum_g) op->values.sum_g = op->sum_g, op->values.sum_g_xm = op->sum_g_xm;
    (op->plan.how == BN_OWN ? run_own : op->plan.how == BN_APART ? run_apart : run_shared)(op);
    free(memory);
    return 1;
}

int bn_stats(const bn_call *call, double *count, double *mean, double *m2)
{
    static const procedure steps = {guess_shift, stats_chunk, find_moments, NULL};
    operation op = begin(call, &steps);
    op.count = count, op.mean = mean, op.m2 = m2;
    return finish(&op);
}

int bn_normalize(const bn_call *call)
{
    static const procedure steps = {prepare_normalize, NULL, NULL, normalize_chunk};
    operation op = begin(call, &steps);
    return finish(&op);
}

int bn_forward(const bn_call *call, double *count, double *mean, double *m2)
{
    static const procedure steps = {guess_shift, stats_chunk, find_moments_and_prepare,
                                    normalize_chunk};
    operation op = begin(call, &steps);
    op.count = count, op.mean = mean, op.m2 = m2;
    return finish(&op);
}

int bn_reduce(const bn_call *call, double *sum_g, double *sum_g_xm)
{
    static const procedure steps = {prepare_normalize, reduce_chunk, find_sums, NULL};
    operation op = begin(call, &steps);
    op.sum_g = sum_g, op.sum_g_xm = sum_g_xm;
    return finish(&op);
}

int bn_gradient(const bn_call *call)
{
    static const procedure steps = {prepare_both, NULL, NULL, gradient_chunk};
    operation op = begin(call, &steps);
    return finish(&op);
}

int bn_backward(const bn_call *call, double *sum_g, double *sum_g_xm)
{
    static const procedure steps = {prepare_normalize, reduce_chunk, find_sums_and_prepare,
                                    gradient_chunk};
    operation op = begin(call, &steps);
    op.sum_g = sum_g, op.sum_g_xm = sum_g_xm;
    return finish(&op);
}
