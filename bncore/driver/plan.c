#include "plan.h"

enum {
    SERIAL_BELOW = 32768,     /* values: a team of threads costs more than it saves */
    FROM_MEMORY = 32 << 20,   /* bytes of all arrays: more than the last cache holds */
    OWN_BYTES = 512 << 10,    /* of what is read twice, to stay in one core's cache in between, */
    LARGEST_OWN = 1 << 20,    /* or at most, where a single channel has as much */
    GROUP_BYTES = 8 << 20,    /* to stay in the cache that the cores share */
    SHORT_ROW = 16 << 10,     /* bytes of a block's row */
    BLOCKS_EACH = 4,          /* for each thread, so that none waits long for the last */
    SINGLE_PASS = 16384,      /* values of a block in one row */
    TILE_ROWS = 8,            /* in a cache; from memory, one row after the other is what hardware */
                              /* prefetches: channels-last sums took half the time */
};

static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static ptrdiff_t max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

bn_plan bn_make_plan(const bn_partition *cut, ptrdiff_t itemsize, int arrays, int read, int threads)
{
    const bn_layout *layout = cut->layout;
    const ptrdiff_t channels = layout->channels;
    const double values = (double)layout->outer * layout->inner; /* of a channel */
    const double bytes = values * itemsize;
    bn_plan p = {.threads = threads, .block = channels, .group = channels, .tile = TILE_ROWS};
    if (values * channels < SERIAL_BELOW) p.threads = 1;
    p.from_memory = bytes * channels * arrays >= FROM_MEMORY;
    if (layout->channels_last) {
        if (p.from_memory) p.tile = 1;
        return p;
    }
    if (!read) {
        p.row_by_row = 1;
        p.block = min(channels, 1 + SINGLE_PASS / cut->n);
        return p;
    }

    const double fit = OWN_BYTES / (bytes * read); /* channels */
    p.block = fit < channels ? (ptrdiff_t)fit : channels;
    if (p.threads > 1) p.block = min(p.block, channels / ((ptrdiff_t)p.threads * BLOCKS_EACH));
    p.block = max(p.block, 1);
    if (p.block * bytes * read <= LARGEST_OWN && channels >= p.threads * p.block) {
        const int short_rows = p.block * layout->inner * itemsize < SHORT_ROW;
        p.how = short_rows && !p.from_memory ? BN_APART : BN_OWN;
        return p;
    }

    p.block = 1;
    p.group = 1 + (ptrdiff_t)(GROUP_BYTES / bytes);
    return p;
}
