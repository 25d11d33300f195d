#include "pooled.h"

#include <string.h>

#include "integers.h"

enum { SMALL_CHUNK = 4096 }; /* values */

bn_partition bn_cut_small(const bn_layout *layout)
{
    const ptrdiff_t fit = bn_ceil_div(SMALL_CHUNK, layout->channels);
    const ptrdiff_t rows = bn_ceil_div(fit, layout->fold) * layout->fold;
    return (bn_partition){.layout = layout,
                          .chunks = bn_ceil_div(layout->outer, rows),
                          .rows = rows,
                          .pieces = 1,
                          .n = layout->inner};
}

/* Pixels `column` to `end` of a row of an image. */
static void spread_row(const bn_pooled *p, ptrdiff_t image, ptrdiff_t row, ptrdiff_t column, ptrdiff_t end,
                       ptrdiff_t channels, char *to)
{
    const ptrdiff_t itemsize = p->kernels->itemsize, kernel = p->kernel[BN_COLUMNS];
    const ptrdiff_t output = row / p->kernel[BN_ROWS];
    const ptrdiff_t covered = bn_max(column, bn_min(end, p->outputs[BN_COLUMNS] * kernel));
    const ptrdiff_t pixels = output < p->outputs[BN_ROWS] ? covered - column : 0;
    if (pixels > 0) {
        const ptrdiff_t line = image * p->outputs[BN_ROWS] + output;
        const ptrdiff_t at = line * p->outputs[BN_COLUMNS] * channels;
        p->kernels->spread_max(to, p->dy + at * itemsize, p->positions + at, channels,
                               (bn_range){column, covered}, kernel, row % p->kernel[BN_ROWS] * kernel);
    }
    memset(to + pixels * channels * itemsize, 0, (end - column - pixels) * channels * itemsize);
}

void bn_spread_chunk(const bn_pooled *p, const bn_chunk *chunk, char *buffer)
{
    const bn_extent e = chunk->extent;
    const ptrdiff_t columns = p->size[BN_COLUMNS], size = e.channels * p->kernels->itemsize;
    const ptrdiff_t end = chunk->row + (e.rows * e.n + e.tail) / e.channels;
    for (ptrdiff_t pixel = chunk->row, n; pixel < end; pixel += n) {
        const ptrdiff_t line = pixel / columns, column = pixel % columns;
        n = bn_min(columns - column, end - pixel);
        spread_row(p, line / p->size[BN_ROWS], line % p->size[BN_ROWS], column, column + n, e.channels,
                   buffer + (pixel - chunk->row) * size);
    }
}
