#include "gather.h"

#include <string.h>

#include "integers.h"

enum { GATHERED = 65536 }; /* values of a buffer, which stays in a core's cache */

static ptrdiff_t values_of_channel(const bn_partition *cut) { return cut->rows * cut->n; }

ptrdiff_t bn_gather_channels(const bn_partition *cut)
{
    if (cut->layout->fold > 1) return cut->layout->channels;
    const ptrdiff_t fit = bn_max(1, GATHERED / values_of_channel(cut));
    return bn_min(fit, cut->layout->channels);
}

ptrdiff_t bn_gather_values(const bn_partition *cut)
{
    return bn_gather_channels(cut) * values_of_channel(cut);
}

/* Distance from the first value to value i of the axes order[begin] to order[end]. */
static ptrdiff_t distance(const bn_layout *layout, const ptrdiff_t *strides, int begin, int end,
                          ptrdiff_t i)
{
    ptrdiff_t bytes = 0;
    for (int k = end - 1; k >= begin && i > 0; k--) {
        const int axis = layout->order[k];
        bytes += i % layout->shape[axis] * strides[axis];
        i /= layout->shape[axis];
    }
    return bytes;
}

ptrdiff_t bn_distance(const bn_layout *layout, const ptrdiff_t *strides, ptrdiff_t i)
{
    return distance(layout, strides, 0, layout->axes, i);
}

static void copy(char *to, ptrdiff_t to_step, const char *from, ptrdiff_t from_step, ptrdiff_t n,
                 ptrdiff_t itemsize)
{
    if (to_step == itemsize && from_step == itemsize) {
        memcpy(to, from, n * itemsize);
        return;
    }
#define COPY(bytes) for (ptrdiff_t i = 0; i < n; i++) memcpy(to + i * to_step, from + i * from_step, bytes)
    switch (itemsize) {
    case 2: COPY(2); break;
    case 4: COPY(4); break;
    case 8: COPY(8); break;
    }
#undef COPY
}

/* Copy n values between the memory of a tensor, a stride apart, and a buffer. Returns the buffer's end. */
static char *copy_run(char *memory, ptrdiff_t stride, char *buffer, ptrdiff_t n, ptrdiff_t itemsize,
                      int scatter)
{
    if (scatter) copy(memory, stride, buffer, itemsize, n, itemsize);
    else copy(buffer, itemsize, memory, stride, n, itemsize);
    return buffer + n * itemsize;
}

/* The same for values `begin` to `end` of a planar row: as many runs as its innermost axis has gaps. */
static char *copy_row(const bn_layout *layout, const ptrdiff_t *strides, char *row, char *buffer,
                      ptrdiff_t begin, ptrdiff_t end, ptrdiff_t itemsize, int scatter)
{
    if (layout->inner == 1) return copy_run(row, itemsize, buffer, 1, itemsize, scatter);
    const int innermost = layout->order[layout->axes - 1];
    const ptrdiff_t length = layout->shape[innermost];
    for (ptrdiff_t i = begin, n; i < end; i += n) {
        n = bn_min(length - i % length, end - i);
        char *memory = row + distance(layout, strides, layout->outer_axes, layout->axes, i);
        buffer = copy_run(memory, strides[innermost], buffer, n, itemsize, scatter);
    }
    return buffer;
}

static void copy_chunk(const bn_partition *cut, const bn_chunk *chunk, bn_strided t,
                       ptrdiff_t itemsize, char *buffer, int scatter)
{
    const bn_layout *layout = cut->layout;
    const bn_extent e = chunk->extent;
    const ptrdiff_t channel_stride = t.strides[layout->axis];
    const ptrdiff_t rows = e.channels_last ? (e.rows * e.n + e.tail) / e.channels : e.rows;
    char *first = t.data + chunk->channel * channel_stride;
    for (ptrdiff_t r = chunk->row; r < chunk->row + rows; r++) {
        char *row = first + distance(layout, t.strides, 0, layout->outer_axes, r);
        if (e.channels_last)
            buffer = copy_run(row, channel_stride, buffer, e.channels, itemsize, scatter);
        else
            for (ptrdiff_t c = 0; c < e.channels; c++)
                buffer = copy_row(layout, t.strides, row + c * channel_stride, buffer, chunk->column,
                                  chunk->column + e.n, itemsize, scatter);
    }
}

void bn_gather(const bn_partition *cut, const bn_chunk *chunk, bn_strided t, ptrdiff_t itemsize,
               char *buffer)
{
    copy_chunk(cut, chunk, t, itemsize, buffer, 0);
}

void bn_scatter(const bn_partition *cut, const bn_chunk *chunk, bn_strided t, ptrdiff_t itemsize,
                const char *buffer)
{
    copy_chunk(cut, chunk, t, itemsize, (char *)buffer, 1);
}

bn_tensor bn_gathered(const bn_chunk *chunk, char *buffer, ptrdiff_t itemsize)
{
    const bn_extent e = chunk->extent;
    const ptrdiff_t channel = e.channels_last ? 1 : e.n;
    return (bn_tensor){.data = buffer,
                       .row_stride = (e.channels_last ? e.n : e.channels * e.n) * itemsize,
                       .channel_stride = channel * itemsize};
}
