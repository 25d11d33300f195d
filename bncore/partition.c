#include "partition.h"

enum {
    PLANAR_CHUNK = 16384, /* values of one channel: in L2 for a second pass, many per tensor */
    LAST_CHUNK = 131072,  /* values of all channels: enough rows that merging them costs little */
    BLOCK_CHANNELS = 512, /* of a tensor with more than BN_MAX_WIDTH */
};

static ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static bn_partition cut_planar(const bn_layout *layout)
{
    bn_partition p = {.layout = layout, .blocks = layout->channels, .block_channels = 1};
    ptrdiff_t pieces = ceil_div(layout->inner, PLANAR_CHUNK);
    p.n = min(ceil_div(ceil_div(layout->inner, pieces), BN_LANES) * BN_LANES, layout->inner);
    p.pieces = ceil_div(layout->inner, p.n);
    p.rows = p.pieces > 1 ? 1 : PLANAR_CHUNK / layout->inner;
    p.chunks = ceil_div(layout->outer, p.rows) * p.pieces;
    p.block_values = layout->outer * layout->inner;
    return p;
}

static bn_partition cut_last(const bn_layout *layout)
{
    ptrdiff_t channels = layout->channels;
    bn_partition p = {.layout = layout, .pieces = 1};
    p.block_channels = channels > BN_MAX_WIDTH ? BLOCK_CHANNELS : channels;
    p.blocks = ceil_div(channels, p.block_channels);
    p.rows = ceil_div(LAST_CHUNK, layout->fold * p.block_channels) * layout->fold;
    p.chunks = ceil_div(layout->outer, p.rows);
    p.block_values = layout->outer * p.block_channels;
    return p;
}

bn_partition bn_cut(const bn_layout *layout)
{
    return layout->channels_last ? cut_last(layout) : cut_planar(layout);
}

bn_chunk bn_chunk_at(const bn_partition *p, ptrdiff_t block, ptrdiff_t k)
{
    const bn_layout *layout = p->layout;
    bn_chunk c = {.channel = block * p->block_channels, .row = k / p->pieces * p->rows};
    c.channels = min(p->block_channels, layout->channels - c.channel);
    ptrdiff_t rows = min(p->rows, layout->outer - c.row);
    if (layout->channels_last) {
        c.rows = rows / layout->fold;
        c.n = layout->fold * c.channels;
        c.tail = rows % layout->fold * c.channels;
    } else {
        c.rows = rows;
        c.piece = k % p->pieces * p->n;
        c.n = min(p->n, layout->inner - c.piece);
    }
    return c;
}

double bn_chunk_count(const bn_partition *p, ptrdiff_t k)
{
    bn_chunk c = bn_chunk_at(p, 0, k);
    if (!p->layout->channels_last) return (double)c.rows * (double)c.n;
    return (double)min(p->rows, p->layout->outer - c.row);
}

bn_rows bn_chunk_rows(const bn_partition *p, const bn_chunk *chunk, bn_operand operand,
                      ptrdiff_t itemsize)
{
    char *data = operand.data + chunk->channel * operand.channel_stride +
                 chunk->row * operand.outer_stride + chunk->piece * itemsize;
    return (bn_rows){data, operand.outer_stride * p->layout->fold};
}
