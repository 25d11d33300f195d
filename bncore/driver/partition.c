#include "partition.h"

enum {
    PLANAR_CHUNK = 16384, /* values of a channel: in L1 or L2, and many in a tensor */
    LAST_CHUNK = 65536,   /* values of all channels: many chunks in a tensor, and */
    LAST_ROWS = 64,       /* enough rows that adding up their sums costs little, */
    MOST_CHUNKS = 1024,   /* and no more than these, whose sums have to be kept */
};

static ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static ptrdiff_t max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

bn_partition bn_cut(const bn_layout *layout)
{
    bn_partition p = {.layout = layout, .pieces = 1, .n = layout->inner};
    if (layout->channels_last) {
        p.rows = max(LAST_ROWS, ceil_div(LAST_CHUNK, layout->channels));
        p.rows = max(p.rows, ceil_div(layout->outer, MOST_CHUNKS));
        p.rows = ceil_div(p.rows, layout->fold) * layout->fold;
    } else {
        ptrdiff_t pieces = ceil_div(layout->inner, PLANAR_CHUNK);
        if (pieces > 1) p.n = ceil_div(ceil_div(layout->inner, pieces), BN_LANES) * BN_LANES;
        p.pieces = ceil_div(layout->inner, p.n);
        p.rows = p.pieces > 1 ? 1 : PLANAR_CHUNK / layout->inner;
    }
    p.chunks = ceil_div(layout->outer, p.rows) * p.pieces;
    return p;
}

bn_partition bn_cut_fine(const bn_layout *layout)
{
    bn_partition p = bn_cut(layout);
    if (layout->channels_last) return p;
    p.rows = max(1, min(p.rows, PLANAR_CHUNK / (p.n * layout->channels)));
    p.chunks = ceil_div(layout->outer, p.rows) * p.pieces;
    return p;
}

bn_chunk bn_chunk_at(const bn_partition *p, ptrdiff_t k, ptrdiff_t channel, ptrdiff_t channels)
{
    const bn_layout *layout = p->layout;
    bn_chunk c = {.channel = channel, .row = k / p->pieces * p->rows};
    ptrdiff_t rows = min(p->rows, layout->outer - c.row);
    if (layout->channels_last) {
        c.extent = (bn_extent){1, rows / layout->fold, channels, layout->fold * channels,
                               rows % layout->fold * channels, 1};
    } else {
        c.column = k % p->pieces * p->n;
        c.extent = (bn_extent){0, rows, channels, min(p->n, layout->inner - c.column), 0, 1};
    }
    return c;
}

bn_view bn_chunk_view(const bn_partition *p, const bn_chunk *chunk, bn_operand operand,
                      ptrdiff_t itemsize)
{
    if (!operand.data) return (bn_view){NULL, 0, 0};
    char *data = operand.data + chunk->channel * operand.channel_stride +
                 chunk->row * operand.outer_stride + chunk->column * itemsize;
    return (bn_view){data, operand.outer_stride * p->layout->fold, operand.channel_stride};
}
