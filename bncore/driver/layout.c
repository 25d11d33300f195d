#include "layout.h"

static ptrdiff_t width(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }

/* Fill `order` with the axes that are longer than 1, and that of the channels, widest stride first.
   Returns how many they are. A stride of 0 says nothing about an axis' place: it stays where it is among
   the others, as in NumPy's own loops. */
static int sort_axes(int rank, const ptrdiff_t *shape, int axis, const ptrdiff_t *strides, int *order)
{
    int count = 0;
    for (int i = 0; i < rank; i++) {
        if (i != axis && shape[i] == 1) continue;
        int place = count;
        for (int k = count - 1; k >= 0; k--) {
            const ptrdiff_t before = width(strides[order[k]]), here = width(strides[i]);
            if (before == 0 || here == 0 || shape[order[k]] == 1 || shape[i] == 1) continue;
            if (before >= here) break;
            place = k;
        }
        for (int k = count; k > place; k--) order[k] = order[k - 1];
        order[place] = i;
        count++;
    }
    return count;
}

enum { WIDE_ROW = 256 }; /* values: long enough for a loop over one row to pay */

static ptrdiff_t gcd(ptrdiff_t a, ptrdiff_t b) { return b ? gcd(b, a % b) : a; }

/* How many rows to take as one: together a whole number of lanes, and a wide row if there are enough. */
static ptrdiff_t rows_to_fold(ptrdiff_t rows, ptrdiff_t channels)
{
    const ptrdiff_t whole = BN_LANES / gcd(channels, BN_LANES);
    ptrdiff_t fold = whole;
    while (fold * channels < WIDE_ROW && fold + whole <= rows) fold += whole;
    return fold <= rows && fold * channels <= BN_WIDEST_ROW ? fold : 1;
}

bn_layout bn_layout_of(int rank, const ptrdiff_t *shape, int axis, const ptrdiff_t *strides)
{
    bn_layout layout;
    int sorted[BN_MAX_RANK];
    const int count = sort_axes(rank, shape, axis, strides, sorted);
    layout.shape = shape, layout.axis = axis;
    layout.outer = layout.inner = 1;
    layout.axes = layout.outer_axes = 0;
    ptrdiff_t *length = &layout.outer;
    for (int k = 0; k < count; k++) {
        if (sorted[k] == axis) {
            layout.outer_axes = layout.axes;
            length = &layout.inner;
        } else {
            layout.order[layout.axes++] = sorted[k];
            *length *= shape[sorted[k]];
        }
    }
    layout.channels = shape[axis];
    layout.channels_last = layout.inner == 1 && layout.channels > 1;
    if (layout.inner == 1 && !layout.channels_last) { /* a single channel is one run */
        layout.inner = layout.outer;
        layout.outer = 1;
        layout.outer_axes = 0;
    }
    layout.fold = layout.channels_last ? rows_to_fold(layout.outer, layout.channels) : 1;
    return layout;
}

bn_layout bn_layout_of_rows(const ptrdiff_t *shape)
{
    return (bn_layout){.outer = 1,
                       .channels = shape[0],
                       .inner = shape[1],
                       .fold = 1,
                       .axes = 1,
                       .order = {1},
                       .shape = shape};
}

/* The stride of the axes order[begin] to order[end] taken as one. Returns 0 if they cannot be one. */
static int stride_of(const bn_layout *layout, const ptrdiff_t *strides, int begin, int end,
                     ptrdiff_t *stride)
{
    for (int k = begin; k + 1 < end; k++) {
        const int axis = layout->order[k], next = layout->order[k + 1];
        if (strides[axis] != layout->shape[next] * strides[next]) return 0;
    }
    *stride = begin < end ? strides[layout->order[end - 1]] : 0;
    return 1;
}

int bn_fits_layout(const bn_layout *layout, char *data, const ptrdiff_t *strides, ptrdiff_t itemsize,
                   bn_tensor *tensor)
{
    ptrdiff_t outer, inner;
    *tensor = (bn_tensor){.data = data, .channel_stride = strides[layout->axis]};
    if (!stride_of(layout, strides, 0, layout->outer_axes, &outer)) return 0;
    if (!stride_of(layout, strides, layout->outer_axes, layout->axes, &inner)) return 0;
    tensor->row_stride = outer;
    if (!layout->channels_last) return layout->inner == 1 || inner == itemsize;
    if (layout->fold > 1 && outer != layout->channels * itemsize) return 0;
    return tensor->channel_stride == itemsize;
}
