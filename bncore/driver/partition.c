#include "partition.h"

#include "integers.h"

/* docs/design.md, "Chunks", has the reasons. */
enum {
    PLANAR_CHUNK = 16384, /* values of a channel */
    LAST_CHUNK = 65536,   /* channels-last: values of all channels, */
    LAST_ROWS = 64,       /* at least so many rows, */
    MOST_CHUNKS = 1024,   /* and at most so many chunks */
};

static bn_partition cut_channels_last(const bn_layout *layout)
{
    ptrdiff_t rows = bn_max(LAST_ROWS, bn_ceil_div(LAST_CHUNK, layout->channels));
    rows = bn_max(rows, bn_ceil_div(layout->outer, MOST_CHUNKS));
    rows = bn_ceil_div(rows, layout->fold) * layout->fold;
    return (bn_partition){.layout = layout,
                          .chunks = bn_ceil_div(layout->outer, rows),
                          .rows = rows,
                          .pieces = 1,
                          .n = layout->inner};
}

static bn_partition cut_planar(const bn_layout *layout)
{
    ptrdiff_t pieces = bn_ceil_div(layout->inner, PLANAR_CHUNK), n = layout->inner;
    if (pieces > 1) n = bn_ceil_div(bn_ceil_div(layout->inner, pieces), BN_LANES) * BN_LANES;
    pieces = bn_ceil_div(layout->inner, n);
    ptrdiff_t rows = pieces > 1 ? 1 : PLANAR_CHUNK / layout->inner;
    return (bn_partition){.layout = layout,
                          .chunks = bn_ceil_div(layout->outer, rows) * pieces,
                          .rows = rows,
                          .pieces = pieces,
                          .n = n};
}

bn_partition bn_cut(const bn_layout *layout)
{
    return layout->channels_last ? cut_channels_last(layout) : cut_planar(layout);
}

bn_partition bn_cut_whole(const bn_layout *layout)
{
    return (bn_partition){.layout = layout, .chunks = 1, .rows = 1, .pieces = 1, .n = layout->inner};
}

bn_partition bn_cut_fine(const bn_layout *layout)
{
    bn_partition p = bn_cut(layout);
    if (layout->channels_last) return p;
    p.rows = bn_max(1, bn_min(p.rows, PLANAR_CHUNK / (p.n * layout->channels)));
    p.chunks = bn_ceil_div(layout->outer, p.rows) * p.pieces;
    return p;
}

bn_chunk bn_chunk_at(const bn_partition *p, ptrdiff_t k, ptrdiff_t channel, ptrdiff_t channels)
{
    const bn_layout *layout = p->layout;
    bn_chunk chunk = {.channel = channel, .row = k / p->pieces * p->rows};
    const ptrdiff_t rows = bn_min(p->rows, layout->outer - chunk.row);
    if (layout->channels_last) {
        chunk.extent = (bn_extent){.channels_last = 1,
                                   .rows = rows / layout->fold,
                                   .channels = channels,
                                   .n = layout->fold * channels,
                                   .tail = rows % layout->fold * channels};
    } else {
        chunk.column = k % p->pieces * p->n;
        chunk.extent = (bn_extent){.rows = rows,
                                   .channels = channels,
                                   .n = bn_min(p->n, layout->inner - chunk.column)};
    }
    return chunk;
}

bn_tensor bn_chunk_of(const bn_partition *p, const bn_chunk *chunk, bn_tensor whole,
                      ptrdiff_t itemsize)
{
    if (!whole.data) return (bn_tensor){0};
    return (bn_tensor){.data = whole.data + chunk->channel * whole.channel_stride +
                               chunk->row * whole.row_stride + chunk->column * itemsize,
                       .row_stride = whole.row_stride * p->layout->fold,
                       .channel_stride = whole.channel_stride};
}
