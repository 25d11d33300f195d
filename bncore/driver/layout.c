#include "layout.h"

#include <stdint.h>

/* Sort key of an axis. A broadcast axis (stride 0) comes first: it cannot be the contiguous one. */
static ptrdiff_t width(ptrdiff_t stride)
{
    return stride == 0 ? PTRDIFF_MAX : stride < 0 ? -stride : stride;
}

/* Fill `order` with the axes longer than one, but for the channel axis, widest stride first. Returns
   how many they are. */
static int sort_axes(int rank, const ptrdiff_t *shape, int axis, const ptrdiff_t *strides, int *order)
{
    int count = 0;
    for (int i = 0; i < rank; i++) {
        if (i == axis || shape[i] == 1) continue;
        int k = count++;
        for (; k > 0 && width(strides[order[k - 1]]) < width(strides[i]); k--)
            order[k] = order[k - 1];
        order[k] = i;
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

int bn_find_layout(int rank, const ptrdiff_t *shape, int axis, ptrdiff_t itemsize, int count,
                   const ptrdiff_t *const *strides, bn_layout *layout, bn_tensor *tensors)
{
    int order[BN_MAX_RANK];
    int axes = sort_axes(rank, shape, axis, strides[0], order);

    /* Merge each axis into its outer neighbour where the strides of every tensor allow it. */
    int groups = 0, last_axis[2];
    ptrdiff_t length[2] = {1, 1};
    for (int i = 0; i < axes; i++) {
        int a = order[i], merges = groups > 0;
        for (int k = 0; k < count && merges; k++)
            merges = strides[k][last_axis[groups - 1]] == shape[a] * strides[k][a];
        if (!merges) {
            if (groups == 2) return 0;
            length[groups++] = shape[a];
        } else {
            length[groups - 1] *= shape[a];
        }
        last_axis[groups - 1] = a;
    }

    int inner_contiguous = 1, channels_contiguous = 1;
    for (int k = 0; k < count; k++) {
        if (groups > 0 && strides[k][last_axis[groups - 1]] != itemsize) inner_contiguous = 0;
        if (strides[k][axis] != itemsize) channels_contiguous = 0;
    }
    layout->channels = shape[axis];
    layout->channels_last = groups < 2 && channels_contiguous && !(inner_contiguous && groups == 1);
    if (!layout->channels_last && !inner_contiguous) return 0;

    int has_outer = layout->channels_last ? groups == 1 : groups == 2;
    layout->outer = has_outer ? length[0] : 1;
    layout->inner = layout->channels_last || groups == 0 ? 1 : length[groups - 1];
    layout->fold = layout->channels_last ? rows_to_fold(layout->outer, layout->channels) : 1;
    for (int k = 0; k < count; k++) {
        tensors[k].row_stride = has_outer ? strides[k][last_axis[0]] : 0;
        tensors[k].channel_stride = strides[k][axis];
        if (layout->fold > 1 && tensors[k].row_stride != layout->channels * itemsize) return 0;
    }
    return 1;
}
