/* Pooling. A line of outputs is computed pixel by pixel of their windows: the inner loops go over the
   outputs, which lie a constant step apart, so that the compiler makes vectors of them. The order of
   comparisons and additions is that of the pixels, however the outputs lie in memory.
   docs/design.md, "Pooling", tells more. */

#if BITS == 32
typedef int32_t NAME(number);
#else
typedef int64_t NAME(number); /* as wide as a value, so that vectors of both have the same length */
#endif

typedef NAME(number) NAME(numbers) VECTOR(VECTOR_BYTES);
typedef NAME(number) NAME(numbers_unaligned) UNALIGNED_VECTOR(VECTOR_BYTES, NAME(number));

/* A value for each output of a line. */
typedef struct {
    real of[BN_POOL_RUN];
} NAME(line);

/* call(step, column) for the steps from an output to the next and from a pixel of its window to the next,
   with constants for channels-last images, and for planar ones with a stride of 1 or 2. */
#define FOR_POOL_STEPS(b, call)                                                                   \
    do {                                                                                          \
        const ptrdiff_t step_ = (b)->x.output, column_ = (b)->column;                             \
        if (step_ == 1 && column_ == 1) call(1, 1);                                               \
        else if (step_ == 2 && column_ == 1) call(2, 1);                                          \
        else if (step_ == 1) call(1, column_);                                                    \
        else call(step_, column_);                                                                \
    } while (0)

/* ---- loads and stores of a line ---- */

ALWAYS_INLINE void NAME(store_line)(real *to, ptrdiff_t step, const real *from, ptrdiff_t n)
{
    if (step == 1) memcpy(to, from, n * sizeof(real));
    else
        for (ptrdiff_t i = 0; i < n; i++) to[i * step] = from[i];
}

ALWAYS_INLINE void NAME(load_line)(real *to, const real *from, ptrdiff_t step, ptrdiff_t n)
{
    if (step == 1) memcpy(to, from, n * sizeof(real));
    else
        for (ptrdiff_t i = 0; i < n; i++) to[i] = from[i * step];
}

static void NAME(store_positions)(const bn_pool_block *b, ptrdiff_t line, const NAME(number) *index,
                                  void *positions)
{
    const ptrdiff_t first = b->first + line * b->number.line, each = b->number.output;
    const ptrdiff_t step = b->position.output, n = b->n;
    if (b->position_bytes == 1) {
        uint8_t *to = (uint8_t *)positions + line * b->position.line;
        if (step == 1)
            for (ptrdiff_t i = 0; i < n; i++) to[i] = (uint8_t)(first + index[i]);
        else
            for (ptrdiff_t i = 0; i < n; i++) to[i * step] = (uint8_t)(first + index[i]);
    } else {
        int32_t *to = (int32_t *)positions + line * b->position.line;
        for (ptrdiff_t i = 0; i < n; i++) to[i * step] = (int32_t)(first + i * each + index[i]);
    }
}

/* Positions of a line, as numbers relative to the first pixel of each window. */
static void NAME(load_positions)(const bn_pool_block *b, ptrdiff_t line, const void *positions,
                                 NAME(number) *index)
{
    const ptrdiff_t first = b->first + line * b->number.line, each = b->number.output;
    const ptrdiff_t step = b->position.output, n = b->n;
    if (b->position_bytes == 1) {
        const uint8_t *from = (const uint8_t *)positions + line * b->position.line;
        const NAME(number) base = (NAME(number))first;
        if (step == 1)
            for (ptrdiff_t i = 0; i < n; i++) index[i] = from[i] - base;
        else
            for (ptrdiff_t i = 0; i < n; i++) index[i] = from[i * step] - base;
    } else {
        const int32_t *from = (const int32_t *)positions + line * b->position.line;
        for (ptrdiff_t i = 0; i < n; i++) index[i] = (NAME(number))(from[i * step] - (first + i * each));
    }
}

/* ---- maxima ---- */

/* NaN wins over all before. */
ALWAYS_INLINE void NAME(compare)(NAME(vec) value, NAME(number) number, NAME(vec) *most, NAME(numbers) *at)
{
    const NAME(numbers) more = (NAME(numbers))((value > *most) | (value != value));
    *most = SELECT(more, value, *most);
    *at = SELECT(more, number - (NAME(numbers)){0}, *at);
}

/* Compare up to BN_LANES outputs with one pixel, or with two adjoining ones, the first of which has this
   number. The vectors are explicit: compilers make branches of these comparisons, which cannot be
   predicted. */
ALWAYS_INLINE void NAME(max_lanes)(const int pixels, ptrdiff_t count, const real *x, const real *next,
                                   NAME(number) number, real *best, NAME(number) *index)
{
    UNROLL
    for (int i = 0; i < BN_LANES; i += NAME(VEC)) {
        const ptrdiff_t n = bn_min(NAME(VEC), bn_max(0, count - i));
        NAME(vec) most = NAME(load)(best + i);
        NAME(numbers) at = *(const NAME(numbers_unaligned) *)(index + i);
        NAME(compare)(NAME(read)(x + i, n), number, &most, &at);
        if (pixels == 2) NAME(compare)(NAME(read)(next + i, n), number + 1, &most, &at);
        NAME(store)(best + i, most);
        *(NAME(numbers_unaligned) *)(index + i) = at;
    }
}

/* The same for all outputs of the line. What does not lie side by side is copied before. */
ALWAYS_INLINE void NAME(max_pixels)(const ptrdiff_t step, const ptrdiff_t column, const int pixels,
                                    const real *restrict x, ptrdiff_t number, ptrdiff_t n,
                                    real *restrict best, NAME(number) *restrict index)
{
    const NAME(number) first = (NAME(number))number;
    const ptrdiff_t next = (pixels - 1) * column;
    real copy[2][BN_LANES] = {{0}};
    for (ptrdiff_t i = 0; i < n; i += BN_LANES, x += BN_LANES * step) {
        const ptrdiff_t count = bn_min(n - i, BN_LANES);
        if (step == 1) {
            if (count == BN_LANES)
                NAME(max_lanes)(pixels, BN_LANES, x, x + next, first, best + i, index + i);
            else NAME(max_lanes)(pixels, count, x, x + next, first, best + i, index + i);
            continue;
        }
        for (ptrdiff_t k = 0; k < count; k++) copy[0][k] = x[k * step], copy[1][k] = x[k * step + next];
        NAME(max_lanes)(pixels, BN_LANES, copy[0], copy[1], first, best + i, index + i);
    }
}

ALWAYS_INLINE void NAME(max_line)(const ptrdiff_t step, const ptrdiff_t column, const bn_pool_block *b,
                                  const real *x, real *best, NAME(number) *index)
{
    for (ptrdiff_t i = 0; i < bn_ceil_div(b->n, BN_LANES) * BN_LANES; i++)
        best[i] = -(real)INFINITY, index[i] = 0;
    for (ptrdiff_t row = 0; row < b->rows; row++, x += b->row) {
        const ptrdiff_t number = row * b->pitch, pairs = b->columns / 2;
        for (ptrdiff_t k = 0; k < 2 * pairs; k += 2)
            NAME(max_pixels)(step, column, 2, x + k * column, number + k, b->n, best, index);
        if (b->columns > 2 * pairs)
            NAME(max_pixels)(step, column, 1, x + 2 * pairs * column, number + 2 * pairs, b->n, best, index);
    }
}

/* ---- lines whose outputs lie side by side, vector by vector ---- */

typedef uint8_t NAME(bytes) VECTOR(NAME(VEC));
typedef uint8_t NAME(bytes_unaligned) UNALIGNED_VECTOR(NAME(VEC), uint8_t);
typedef uint16_t NAME(shorts) VECTOR(2 * NAME(VEC));
typedef int32_t NAME(words) VECTOR(4 * NAME(VEC));

/* From one width to the next: GCC converts value by value what is four times as wide. A vector of one value
   is always whole. */
ALWAYS_INLINE NAME(numbers) NAME(read_positions)(const uint8_t *from, ptrdiff_t n)
{
    NAME(bytes) bytes = {0};
    if (n == NAME(VEC)) bytes = *(const NAME(bytes_unaligned) *)from;
    else if (NAME(VEC) > 1) memcpy(&bytes, from, n);
    return CONVERT(CONVERT(CONVERT(bytes, NAME(shorts)), NAME(words)), NAME(numbers));
}

ALWAYS_INLINE void NAME(write_positions)(uint8_t *to, NAME(numbers) positions, ptrdiff_t n)
{
    const NAME(bytes) bytes = CONVERT(CONVERT(CONVERT(positions, NAME(words)), NAME(shorts)), NAME(bytes));
    if (n == NAME(VEC)) *(NAME(bytes_unaligned) *)to = bytes;
    else if (NAME(VEC) > 1) memcpy(to, &bytes, n);
}

/* The next vector of n values: the last one overlaps the one before, so that both are whole. */
ALWAYS_INLINE ptrdiff_t NAME(vector_after)(ptrdiff_t i, ptrdiff_t n)
{
    return i + NAME(VEC) < n ? bn_min(i + NAME(VEC), n - NAME(VEC)) : n;
}

/* Whether all of a line's values lie side by side, and positions are bytes. */
ALWAYS_INLINE int NAME(side_by_side)(const bn_pool_block *b, const void *positions)
{
    return b->x.output == 1 && b->y.output == 1 &&
           (!positions || (b->position_bytes == 1 && b->position.output == 1));
}

/* The first n values of a vector of maxima. With signs, y is the value whose product with its sign is the
   largest. */
ALWAYS_INLINE void NAME(max_vector)(const bn_pool_block *b, const real *x, real *y, uint8_t *positions,
                                    const real *sign, ptrdiff_t n)
{
    NAME(vec) most = NAME(splat)(-(real)INFINITY), value = most;
    NAME(numbers) at = {0};
    for (ptrdiff_t row = 0; row < b->rows; row++, x += b->row)
        for (ptrdiff_t k = 0; k < b->columns; k++) {
            const NAME(vec) each = NAME(read)(x + k * b->column, n);
            const NAME(number) number = (NAME(number))(row * b->pitch + k);
            if (!sign) {
                NAME(compare)(each, number, &most, &at);
                continue;
            }
            NAME(compare)(each * NAME(read)(sign, n), number, &most, &at);
            value = SELECT((NAME(numbers))(at == number), each, value);
        }
    NAME(write)(y, sign ? value : most, n);
    if (positions) NAME(write_positions)(positions, at + (NAME(number))b->first, n);
}

ALWAYS_INLINE void NAME(max_vectors)(const bn_pool_block *b, const real *x, real *y, uint8_t *positions,
                                     const real *sign)
{
    for (ptrdiff_t line = 0; line < b->lines; line++, x += b->x.line, y += b->y.line) {
        uint8_t *to = positions ? positions + line * b->position.line : NULL;
        if (b->n < NAME(VEC)) {
            NAME(max_vector)(b, x, y, to, sign, b->n);
            continue;
        }
        for (ptrdiff_t i = 0; i < b->n; i = NAME(vector_after)(i, b->n))
            NAME(max_vector)(b, x + i, y + i, to ? to + i : NULL, sign ? sign + i : NULL, NAME(VEC));
    }
}

/* The pixels `begin` to `end` of one row of a window, which have the numbers from `number` on. */
ALWAYS_INLINE void NAME(set_row)(real *dx, const real *dy, const uint8_t *positions, ptrdiff_t column,
                                 ptrdiff_t begin, ptrdiff_t end, ptrdiff_t number, ptrdiff_t n)
{
    const NAME(vec) each = NAME(read)(dy, n);
    const NAME(numbers) at = NAME(read_positions)(positions, n);
    for (ptrdiff_t k = begin; k < end; k++) {
        const NAME(numbers) here = (NAME(numbers))(at == (NAME(number))(number + k));
        NAME(write)(dx + k * column, SELECT(here, each, NAME(splat)(0)), n);
    }
}

ALWAYS_INLINE void NAME(set_rows)(real *dx, const real *dy, const uint8_t *positions, ptrdiff_t column,
                                  ptrdiff_t begin, ptrdiff_t end, ptrdiff_t number, ptrdiff_t n)
{
    if (n < NAME(VEC)) {
        NAME(set_row)(dx, dy, positions, column, begin, end, number, n);
        return;
    }
    for (ptrdiff_t i = 0; i < n; i = NAME(vector_after)(i, n))
        NAME(set_row)(dx + i, dy + i, positions + i, column, begin, end, number, NAME(VEC));
}

static void NAME(set_vectors)(const bn_pool_block *b, real *dx, const real *dy, const uint8_t *positions)
{
    for (ptrdiff_t line = 0; line < b->lines; line++, dx += b->x.line, dy += b->y.line)
        for (ptrdiff_t row = 0; row < b->rows; row++)
            NAME(set_rows)(dx + row * b->row, dy, positions + line * b->position.line, b->column, 0,
                           b->columns, b->first + row * b->pitch, b->n);
}

static void NAME(spread_max)(void *dx, const void *dy, const unsigned char *positions, ptrdiff_t channels,
                             bn_range pixels, ptrdiff_t kernel, ptrdiff_t number)
{
    for (ptrdiff_t window = pixels.begin / kernel; window * kernel < pixels.end; window++) {
        const ptrdiff_t first = window * kernel, at = window * channels;
        NAME(set_rows)((real *)dx + (first - pixels.begin) * channels, (const real *)dy + at, positions + at,
                       channels, bn_max(0, pixels.begin - first), bn_min(kernel, pixels.end - first), number,
                       channels);
    }
}

/* ---- any lines ---- */

static void NAME(pool_max)(const bn_pool_block *b, const void *x, void *y, void *positions)
{
    if (NAME(side_by_side)(b, positions)) {
        if (b->sign) NAME(max_vectors)(b, x, y, positions, b->sign);
        else NAME(max_vectors)(b, x, y, positions, NULL);
        return;
    }
    NAME(line) best;
    NAME(number) index[BN_POOL_RUN];
    for (ptrdiff_t line = 0; line < b->lines; line++) {
        const real *from = (const real *)x + line * b->x.line;
#define MAX_LINE(step, column) NAME(max_line)(step, column, b, from, best.of, index)
        FOR_POOL_STEPS(b, MAX_LINE);
#undef MAX_LINE
        NAME(store_line)((real *)y + line * b->y.line, b->y.output, best.of, b->n);
        if (positions) NAME(store_positions)(b, line, index, positions);
    }
}

/* How far the pixel with this number is from the first one in reach of the first window. */
ALWAYS_INLINE ptrdiff_t NAME(distance)(const bn_pool_block *b, ptrdiff_t number)
{
    const ptrdiff_t row = number / b->pitch;
    return row * b->row + (number - row * b->pitch - b->skipped) * b->column;
}

ALWAYS_INLINE void NAME(add_max)(const int table, const bn_pool_block *b, real *dx, const real *dy,
                                 const void *positions)
{
    NAME(number) index[BN_POOL_RUN];
    ptrdiff_t distance[256]; /* of all numbers, in place of divisions */
    const ptrdiff_t in_reach = b->rows * b->pitch;
    const ptrdiff_t n = b->n, step = b->x.output, y_step = b->y.output; /* dx might be b, for a compiler */
    if (table)
        for (ptrdiff_t i = 0; i < in_reach; i++) distance[i] = NAME(distance)(b, i);
    for (ptrdiff_t line = 0; line < b->lines; line++, dx += b->x.line, dy += b->y.line) {
        NAME(load_positions)(b, line, positions, index);
        real *to = dx;
        for (ptrdiff_t i = 0; i < n; i++, to += step) {
            if ((size_t)index[i] >= (size_t)in_reach) continue; /* in a row before or after */
            to[table ? distance[index[i]] : NAME(distance)(b, index[i])] += dy[i * y_step];
        }
    }
}

static void NAME(add_max_gradient)(const bn_pool_block *b, void *dx, const void *dy,
                                   const void *positions)
{
    if (b->position_bytes == 1) NAME(add_max)(1, b, dx, dy, positions);
    else NAME(add_max)(0, b, dx, dy, positions);
}

ALWAYS_INLINE void NAME(set_max_line)(const ptrdiff_t step, const ptrdiff_t column,
                                      const bn_pool_block *b, real *restrict dx, const real *restrict dy,
                                      const NAME(number) *restrict index)
{
    const ptrdiff_t n = b->n;
    for (ptrdiff_t row = 0; row < b->rows; row++, dx += b->row) {
        const NAME(number) first = (NAME(number))(row * b->pitch);
        if (b->columns == 2 && step == 2 && column == 1) /* side by side: one loop stores whole vectors */
            for (ptrdiff_t i = 0; i < n; i++) {
                dx[2 * i] = index[i] == first ? dy[i] : 0;
                dx[2 * i + 1] = index[i] == first + 1 ? dy[i] : 0;
            }
        else
            for (ptrdiff_t k = 0; k < b->columns; k++)
                for (ptrdiff_t i = 0; i < n; i++)
                    dx[i * step + k * column] = index[i] == first + k ? dy[i] : 0;
    }
}

static void NAME(set_max_gradient)(const bn_pool_block *b, void *dx, const void *dy,
                                   const void *positions)
{
    if (NAME(side_by_side)(b, positions)) {
        NAME(set_vectors)(b, dx, dy, positions);
        return;
    }
    NAME(line) each;
    NAME(number) index[BN_POOL_RUN];
    for (ptrdiff_t line = 0; line < b->lines; line++) {
        real *to = (real *)dx + line * b->x.line;
        NAME(load_line)(each.of, (const real *)dy + line * b->y.line, b->y.output, b->n);
        NAME(load_positions)(b, line, positions, index);
#define SET_MAX_LINE(step, column) NAME(set_max_line)(step, column, b, to, each.of, index)
        FOR_POOL_STEPS(b, SET_MAX_LINE);
#undef SET_MAX_LINE
    }
}

/* ---- means ---- */

/* The sum of one pixel, or of two adjoining ones; added to what is there before, unless they are the
   first. */
ALWAYS_INLINE void NAME(sum_pixels)(const ptrdiff_t step, const ptrdiff_t column, const int columns,
                                    const int first, const bn_pool_block *b, const real *restrict x,
                                    real *restrict sum)
{
    const ptrdiff_t n = b->n;
    for (ptrdiff_t i = 0; i < n; i++) {
        real s = x[i * step];
        if (columns == 2) s += x[i * step + column];
        sum[i] = first ? s : sum[i] + s;
    }
}

/* Each row in pairs of pixels. */
ALWAYS_INLINE void NAME(sum_small)(const ptrdiff_t step, const ptrdiff_t column, const bn_pool_block *b,
                                   const real *x, real *sum)
{
    int first = 1;
    for (ptrdiff_t row = 0; row < b->rows; row++, x += b->row)
        for (ptrdiff_t k = 0; k < b->columns; k += 2, first = 0) {
            const real *at = x + k * column;
            if (k + 1 == b->columns) NAME(sum_pixels)(step, column, 1, first, b, at, sum);
            else if (first) NAME(sum_pixels)(step, column, 2, 1, b, at, sum);
            else NAME(sum_pixels)(step, column, 2, 0, b, at, sum);
        }
}

/* Large windows are cut into parts of POOL_WIDTH columns, and those into parts of some rows. Such a part has
   BN_LANES partial sums of each output, of the pixels in every BN_LANES-th column; the sums of parts are
   added up as doubles, because the error of one long sum would be larger. */
enum { NAME(POOL_WIDTH) = BN_LANES * POOL_TERMS };

ALWAYS_INLINE int NAME(is_large)(const bn_pool_block *b)
{
    return b->columns >= BN_LANES || b->rows * b->columns >= NAME(POOL_WIDTH);
}

/* So many that no partial sum has more than POOL_TERMS pixels. */
ALWAYS_INLINE ptrdiff_t NAME(rows_together)(ptrdiff_t columns)
{
    return POOL_TERMS / bn_ceil_div(columns, BN_LANES);
}

/* Add up all lanes, in pairs. */
ALWAYS_INLINE real NAME(sum_lanes)(real *lanes)
{
    for (int half = BN_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

/* Add the sums of these columns for a line whose step is 1 or which has one output. */
ALWAYS_INLINE void NAME(add_large)(ptrdiff_t outputs, ptrdiff_t columns, const bn_pool_block *b,
                                   const real *restrict x, double *restrict sum)
{
    real lanes[BN_LANES][BN_POOL_RUN];
    for (ptrdiff_t row = 0; row < b->rows;) {
        for (int l = 0; l < BN_LANES; l++)
            for (ptrdiff_t i = 0; i < outputs; i++) lanes[l][i] = 0;
        const ptrdiff_t end = bn_min(b->rows, row + NAME(rows_together)(columns));
        for (; row < end; row++, x += b->row)
            for (ptrdiff_t k = 0; k < columns; k++)
                for (ptrdiff_t i = 0; i < outputs; i++) lanes[k % BN_LANES][i] += x[k * b->column + i];
        for (int half = BN_LANES / 2; half > 0; half /= 2)
            for (int l = 0; l < half; l++)
                for (ptrdiff_t i = 0; i < outputs; i++) lanes[l][i] += lanes[l + half][i];
        for (ptrdiff_t i = 0; i < outputs; i++) sum[i] += lanes[0][i];
    }
}

/* The same for one output, whose pixels in a row are side by side: its lanes stay in registers. */
static void NAME(add_large_rows)(ptrdiff_t columns, const bn_pool_block *b, const real *restrict x,
                                 double *sum)
{
    enum { VECTORS = BN_LANES / NAME(VEC) };
    const ptrdiff_t left = columns % BN_LANES, whole = columns - left;
    for (ptrdiff_t row = 0; row < b->rows;) {
        NAME(vec) vectors[VECTORS];
        real lanes[BN_LANES];
        UNROLL
        for (int v = 0; v < VECTORS; v++) vectors[v] = (NAME(vec)){0};
        const ptrdiff_t end = bn_min(b->rows, row + NAME(rows_together)(columns));
        for (; row < end; row++, x += b->row) {
            for (ptrdiff_t k = 0; k < whole; k += BN_LANES) {
                UNROLL
                for (int v = 0; v < VECTORS; v++) vectors[v] += NAME(load)(x + k + v * NAME(VEC));
            }
            if (left == 0) continue;
            for (int l = 0; l < BN_LANES; l++) lanes[l] = l < left ? x[whole + l] : 0;
            UNROLL
            for (int v = 0; v < VECTORS; v++) vectors[v] += NAME(load)(lanes + v * NAME(VEC));
        }
        UNROLL
        for (int v = 0; v < VECTORS; v++) NAME(store)(lanes + v * NAME(VEC), vectors[v]);
        *sum += NAME(sum_lanes)(lanes);
    }
}

static void NAME(sum_large)(const bn_pool_block *b, const real *x, real *sum)
{
    const ptrdiff_t step = b->x.output, n = b->n;
    double total[BN_POOL_RUN] = {0};
    for (ptrdiff_t k = 0; k < b->columns; k += NAME(POOL_WIDTH), x += NAME(POOL_WIDTH) * b->column) {
        const ptrdiff_t columns = bn_min(NAME(POOL_WIDTH), b->columns - k);
        if (b->column != 1 && step == 1) {
            NAME(add_large)(n, columns, b, x, total);
            continue;
        }
        for (ptrdiff_t i = 0; i < n; i++)
            if (b->column == 1) NAME(add_large_rows)(columns, b, x + i * step, total + i);
            else NAME(add_large)(1, columns, b, x + i * step, total + i);
    }
    for (ptrdiff_t i = 0; i < n; i++) sum[i] = (real)total[i];
}

static void NAME(sum_line)(const bn_pool_block *b, const real *x, real *sum)
{
    if (NAME(is_large)(b)) {
        NAME(sum_large)(b, x, sum);
        return;
    }
#define SUM_SMALL(step, column) NAME(sum_small)(step, column, b, x, sum)
    FOR_POOL_STEPS(b, SUM_SMALL);
#undef SUM_SMALL
}

static void NAME(pool_mean)(const bn_pool_block *b, const void *x, void *y)
{
    NAME(line) sum = {{0}}; /* a window may have no pixels */
    for (ptrdiff_t line = 0; line < b->lines; line++) {
        NAME(sum_line)(b, (const real *)x + line * b->x.line, sum.of);
        for (ptrdiff_t i = 0; i < b->n; i++) sum.of[i] *= (real)b->scale;
        NAME(store_line)((real *)y + line * b->y.line, b->y.output, sum.of, b->n);
    }
}

/* To all pixels of the windows of a line. The last pixel of a row is first, so that pixels get the
   gradients of their windows in the order of the windows. */
ALWAYS_INLINE void NAME(spread_line)(const ptrdiff_t step, const ptrdiff_t column, const int add,
                                     const bn_pool_block *b, real *restrict dx, const real *restrict dy)
{
    const ptrdiff_t n = b->n;
    for (ptrdiff_t row = 0; row < b->rows; row++, dx += b->row) {
        if (!add && b->columns == 2 && step == 2 && column == 1)
            for (ptrdiff_t i = 0; i < n; i++) dx[2 * i] = dx[2 * i + 1] = dy[i];
        else
            for (ptrdiff_t k = b->columns - 1; k >= 0; k--)
                for (ptrdiff_t i = 0; i < n; i++) {
                    real *to = dx + i * step + k * column;
                    *to = add ? *to + dy[i] : dy[i];
                }
    }
}

/* The same for large windows whose pixels in a row are side by side. */
ALWAYS_INLINE void NAME(spread_large)(const int add, const bn_pool_block *b, real *restrict dx,
                                      const real *restrict dy)
{
    for (ptrdiff_t row = 0; row < b->rows; row++, dx += b->row)
        for (ptrdiff_t i = 0; i < b->n; i++) {
            real *to = dx + i * b->x.output;
            for (ptrdiff_t k = 0; k < b->columns; k++) to[k] = add ? to[k] + dy[i] : dy[i];
        }
}

ALWAYS_INLINE void NAME(mean_gradient)(const int add, const bn_pool_block *b, void *dx, const void *dy)
{
    NAME(line) each;
    for (ptrdiff_t line = 0; line < b->lines; line++) {
        real *to = (real *)dx + line * b->x.line;
        NAME(load_line)(each.of, (const real *)dy + line * b->y.line, b->y.output, b->n);
        for (ptrdiff_t i = 0; i < b->n; i++) each.of[i] *= (real)b->scale;
        if (b->columns >= BN_LANES && b->column == 1) {
            NAME(spread_large)(add, b, to, each.of);
            continue;
        }
#define SPREAD_LINE(step, column) NAME(spread_line)(step, column, add, b, to, each.of)
        FOR_POOL_STEPS(b, SPREAD_LINE);
#undef SPREAD_LINE
    }
}

static void NAME(add_mean_gradient)(const bn_pool_block *b, void *dx, const void *dy)
{
    NAME(mean_gradient)(1, b, dx, dy);
}

static void NAME(set_mean_gradient)(const bn_pool_block *b, void *dx, const void *dy)
{
    NAME(mean_gradient)(0, b, dx, dy);
}

#undef FOR_POOL_STEPS

static const bn_pool_kernels NAME(pool_table) = {
    .itemsize = sizeof(real),
    .max = NAME(pool_max),
    .add_max_gradient = NAME(add_max_gradient),
    .set_max_gradient = NAME(set_max_gradient),
    .spread_max = NAME(spread_max),
    .mean = NAME(pool_mean),
    .add_mean_gradient = NAME(add_mean_gradient),
    .set_mean_gradient = NAME(set_mean_gradient),
};
