#include "plan.h"

#include "core_cache.h"
#include "integers.h"

/* docs/design.md, "Plans", has the reasons. */
enum {
    SERIAL_BELOW = 32768,   /* values: waking threads costs more than they save */
    FROM_MEMORY = 32 << 20, /* bytes of all tensors: more than the last-level cache holds */
    OWN_BYTES = 512 << 10,  /* of a block, of what both passes read: fits one core's cache */
    LARGEST_OWN = 1 << 20,  /* hard limit, when one channel alone exceeds OWN_BYTES */
    GROUP_BYTES = 8 << 20,  /* of a group, of one tensor: fits the cache that the cores share */
    SHORT_ROW = 16 << 10,   /* bytes of a block's row: shorter ones are better read in memory order */
    SHORTEST_ROW = 2 << 10, /* the same where a core's cache is large */
    LARGE_CACHE = 2 << 20,  /* of a core; such CPUs have a slow last-level cache */
    BLOCKS_EACH = 4,        /* blocks for each thread, to balance the load */
    SINGLE_PASS = 16384,    /* values of a block in one row, where there is only one pass */
    TILE_ROWS = 8,          /* tile of tensors that are in a cache */
    MOST_PARTS = 32,        /* enough to balance the load */
    PART_CHANNELS = 16,     /* at least: then the parts' sums are small beside the tensors */
};

/* Blocks of about so many channels that keep those of a statistic together. */
static ptrdiff_t whole_spans(ptrdiff_t channels, ptrdiff_t span)
{
    return bn_max(channels / span, 1) * span;
}

bn_plan bn_make_plan(bn_partition cut, ptrdiff_t itemsize, int tensors, int read, ptrdiff_t span,
                     int threads)
{
    const bn_layout *layout = cut.layout;
    const ptrdiff_t channels = layout->channels;
    const double values = (double)layout->outer * layout->inner; /* of a channel */
    const double bytes = values * itemsize;
    bn_plan p = {
        .cut = cut, .threads = threads, .block = channels, .group = channels, .tile = TILE_ROWS};
    if (values * channels < SERIAL_BELOW) p.threads = 1;
    p.from_memory = bytes * channels * tensors >= FROM_MEMORY;
    if (layout->channels_last) return p;
    if (!read) {
        p.row_by_row = 1;
        p.block = bn_min(channels, 1 + SINGLE_PASS / cut.n);
        return p;
    }

    const double fit = OWN_BYTES / (bytes * read); /* channels */
    p.block = fit < channels ? (ptrdiff_t)fit : channels;
    if (p.threads > 1) p.block = bn_min(p.block, channels / ((ptrdiff_t)p.threads * BLOCKS_EACH));
    p.block = p.part = whole_spans(p.block, span);
    if (p.block * bytes * read <= LARGEST_OWN && channels >= p.threads * p.block) {
        const int shortest = bn_core_cache() < LARGE_CACHE ? SHORT_ROW : SHORTEST_ROW;
        const int short_rows = p.block * layout->inner * itemsize < shortest;
        p.how = short_rows && !p.from_memory ? BN_APART : BN_OWN;
        return p;
    }

    p.block = span;
    p.group = whole_spans(1 + (ptrdiff_t)(GROUP_BYTES / bytes), span);
    return p;
}

bn_plan bn_plan_parts(bn_plan plan)
{
    const ptrdiff_t channels = plan.cut.layout->channels;
    plan.how = BN_OWN;
    plan.part = bn_max(bn_ceil_div(channels, MOST_PARTS), PART_CHANNELS);
    plan.block = bn_min(whole_spans(plan.block, BN_RUN_CHANNELS), plan.part);
    return plan;
}

bn_chunk bn_plan_chunk(const bn_plan *plan, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t end)
{
    bn_chunk chunk = bn_chunk_at(&plan->cut, k, begin, end - begin);
    chunk.extent.tile = plan->tile;
    return chunk;
}
