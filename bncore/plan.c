#include "plan.h"

enum {
    SERIAL_BELOW = 32768,   /* values: a team of threads costs more than it saves */
    OWN_BYTES = 1 << 19,    /* of what is read twice, to stay in one core's cache in between, */
    LARGEST_OWN = 1 << 20,  /* or at most, where a single channel has as much */
    GROUP_BYTES = 8 << 20,  /* to stay in the cache that the cores share */
    STREAM_FROM = 10 << 20, /* bytes of an output that is written past the cache, */
                            /* and of inputs that come from memory */
    TILE_ROWS = 8,          /* in a cache; from memory, one row after the other is the pattern that */
                            /* hardware prefetches: reading took half the time, channels-last */
    CACHED_BELOW = 24 << 20, /* bytes of all arrays of a call */
    SHORT_ROW = 16 << 10,   /* bytes of a block's row */
    BLOCKS_EACH = 4,        /* for each thread, so that none waits long for the last */
    ONCE_VALUES = 16384,    /* of a block in a single pass */
};

static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static ptrdiff_t max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

bn_plan bn_make_plan(const bn_partition *cut, ptrdiff_t itemsize, int read, int threads)
{
    const bn_layout *layout = cut->layout;
    const ptrdiff_t channels = layout->channels;
    const double bytes = (double)layout->outer * layout->inner * itemsize; /* of a channel */
    bn_plan p = {.threads = threads, .block = channels, .group = channels};
    if (bytes * channels < (double)SERIAL_BELOW * itemsize) p.threads = 1;
    p.tile = layout->channels_last && bytes * channels * read >= STREAM_FROM ? 1 : TILE_ROWS;
    if (layout->channels_last) return p;
    if (!read) { /* one pass, in the order of memory */
        p.row_by_row = 1;
        p.block = min(channels, 1 + ONCE_VALUES / cut->n);
        return p;
    }

    const double fit = OWN_BYTES / (bytes * read); /* channels */
    p.block = fit < channels ? (ptrdiff_t)fit : channels;
    if (p.threads > 1) p.block = min(p.block, channels / (p.threads * BLOCKS_EACH));
    p.block = max(p.block, 1);
    if (p.block * bytes * read <= LARGEST_OWN && channels >= p.threads * p.block) {
        const int cached = bytes * channels * (read + 1) < CACHED_BELOW;
        const int short_rows = p.block * layout->inner * itemsize < SHORT_ROW;
        p.how = cached && short_rows ? BN_APART : BN_OWN;
        return p;
    }

    p.block = 1;
    p.group = 1 + (ptrdiff_t)(GROUP_BYTES / bytes);
    return p;
}

int bn_streams(const bn_layout *layout, ptrdiff_t itemsize)
{
    return (double)layout->outer * layout->inner * layout->channels * itemsize >= STREAM_FROM;
}
