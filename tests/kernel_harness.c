/* The core without Python: statistics, normalization, its gradient and convolutions, beside the same in
   long double, for each instruction set that this CPU has. Exits with 0 if all agree. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/convolution.h"
#include "driver/operations.h"
#include "kernels/dispatch.h"

enum { THREADS = 3 };
static const double EPS = 1e-5;

typedef enum { FLOAT32, FLOAT64, BFLOAT16 } dtype;
static const char *const NAMES[] = {"float32", "float64", "bfloat16"};
static const ptrdiff_t ITEMSIZES[] = {4, 8, 2};
/* how far results may be off, as a part of their size; and what storing them rounds, at most */
static const double TOLERANCES[] = {2e-6, 1e-13, 2e-6}, STEPS[] = {0x1p-24, 0x1p-53, 0x1p-8};

static const char *isa_name;
static int failures;

/* ---- values ---- */

static double get(dtype d, const void *data, ptrdiff_t i)
{
    if (d == FLOAT32) return ((const float *)data)[i];
    if (d == FLOAT64) return ((const double *)data)[i];
    const uint32_t word = (uint32_t)((const uint16_t *)data)[i] << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* The values end on a few bits, so that each dtype has them. */
static void set(dtype d, void *data, ptrdiff_t i, double value)
{
    if (d == FLOAT32) ((float *)data)[i] = (float)value;
    else if (d == FLOAT64) ((double *)data)[i] = value;
    else {
        const float narrow = (float)value;
        uint32_t word;
        memcpy(&word, &narrow, sizeof word);
        ((uint16_t *)data)[i] = (uint16_t)(word >> 16);
    }
}

static void *memory(ptrdiff_t count, ptrdiff_t itemsize)
{
    void *data = calloc((size_t)count, (size_t)itemsize);
    if (!data) fprintf(stderr, "no memory\n"), exit(2);
    return data;
}

static void *values(dtype d, ptrdiff_t count, uint32_t seed)
{
    void *data = memory(count, ITEMSIZES[d]);
    for (ptrdiff_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        set(d, data, i, ((int)(seed >> 25) - 63) / 32.0);
    }
    return data;
}

/* `size` is that of the terms of which the value was made. */
static void compare(const char *what, dtype d, double found, long double expected, long double size)
{
    const long double bound = TOLERANCES[d] * size + STEPS[d] * fabsl(expected);
    if (fabsl(found - expected) <= bound) return;
    failures++;
    fprintf(stderr, "%s, %s, %s must be %.17g, got %.17g\n", isa_name, NAMES[d], what,
            (double)expected, found);
}

/* ---- normalization ---- */

typedef struct {
    ptrdiff_t samples, channels, length;
    int channels_last;
} shape;

static ptrdiff_t place(shape s, ptrdiff_t n, ptrdiff_t c, ptrdiff_t l)
{
    return s.channels_last ? (n * s.length + l) * s.channels + c : (n * s.channels + c) * s.length + l;
}

/* The values of one channel, and the pass backward through them, in long double. */
static void check_channel(dtype d, shape s, ptrdiff_t c, const void *x, const void *y, const void *dy,
                          const void *dx, double weight, double bias, double mean, double m2,
                          double sum_g, double sum_g_xm)
{
    const long double count = (long double)s.samples * s.length;
    long double sum = 0, squares = 0, g = 0, products = 0;
    for (ptrdiff_t n = 0; n < s.samples; n++)
        for (ptrdiff_t l = 0; l < s.length; l++) sum += get(d, x, place(s, n, c, l));
    const long double center = sum / count;
    for (ptrdiff_t n = 0; n < s.samples; n++)
        for (ptrdiff_t l = 0; l < s.length; l++) {
            const ptrdiff_t i = place(s, n, c, l);
            const long double xm = get(d, x, i) - center;
            squares += xm * xm, g += get(d, dy, i), products += get(d, dy, i) * xm;
        }
    const dtype sums = d == FLOAT64 ? FLOAT64 : FLOAT32;
    compare("mean", sums, mean, center, 2);
    compare("m2", sums, m2, squares, squares);
    compare("sum of g", sums, sum_g, g, 2 * count);
    compare("sum of g (x - mean)", sums, sum_g_xm, products, 4 * count);
    const long double var = squares / count + EPS, scale = weight / sqrtl(var);
    for (ptrdiff_t n = 0; n < s.samples; n++)
        for (ptrdiff_t l = 0; l < s.length; l++) {
            const ptrdiff_t i = place(s, n, c, l);
            const long double xm = get(d, x, i) - center;
            compare("y", d, get(d, y, i), xm * scale + bias, 4);
            compare("dx", d, get(d, dx, i),
                    (get(d, dy, i) - g / count - xm * products / (count * var)) * scale, 8);
        }
}

static void check_normalization(const bn_kernels *kernels, dtype d, shape s)
{
    const ptrdiff_t size = ITEMSIZES[d], count = s.samples * s.channels * s.length;
    const ptrdiff_t planar[] = {s.samples, s.channels, s.length};
    const ptrdiff_t last[] = {s.samples, s.length, s.channels};
    const ptrdiff_t *axes = s.channels_last ? last : planar;
    const ptrdiff_t strides[] = {axes[1] * axes[2] * size, axes[2] * size, size};
    void *x = values(d, count, 1), *dy = values(d, count, 2);
    void *y = memory(count, size), *dx = memory(count, size);
    double *weight = values(FLOAT64, s.channels, 3), *bias = values(FLOAT64, s.channels, 4);
    double *results = memory(6 * s.channels, sizeof(double));
    double *n = results, *mean = n + s.channels, *m2 = mean + s.channels, *var = m2 + s.channels;
    double *sum_g = var + s.channels, *sum_g_xm = sum_g + s.channels;

    bn_call call = {.kernels = kernels, .threads = THREADS};
    call.layout = bn_layout_of(3, axes, s.channels_last ? 2 : 1, strides);
    call.values = (bn_channel_values){
        .span = 1, .parameters = s.channels, .weight = weight, .bias = bias, .eps = EPS};
    int fits = bn_fits_layout(&call.layout, x, strides, size, &call.tensors.x) &&
               bn_fits_layout(&call.layout, y, strides, size, &call.tensors.y);
    int found = bn_forward(&call, n, mean, m2);
    for (ptrdiff_t c = 0; c < s.channels; c++) var[c] = m2[c] / n[c];
    call.tensors.y = (bn_tensor){0};
    call.values.mean = mean, call.values.var = var, call.values.count = n;
    fits = fits && bn_fits_layout(&call.layout, dy, strides, size, &call.tensors.dy) &&
           bn_fits_layout(&call.layout, dx, strides, size, &call.tensors.dx);
    found = found && bn_backward(&call, sum_g, sum_g_xm);
    if (!fits || !found) fprintf(stderr, "fits: %d, memory: %d\n", fits, found), exit(2);

    for (ptrdiff_t c = 0; c < s.channels; c++)
        check_channel(d, s, c, x, y, dy, dx, weight[c], bias[c], mean[c], m2[c], sum_g[c],
                      sum_g_xm[c]);
    free(x), free(y), free(dy), free(dx), free(weight), free(bias), free(results);
}

/* ---- convolution ---- */

typedef struct {
    ptrdiff_t images, inputs, outputs, rows, columns, kernel, stride, padding;
    int winograd;
} conv_shape;

static bn_images images_of(void *data, ptrdiff_t channels, ptrdiff_t rows, ptrdiff_t columns)
{
    return (bn_images){.data = data, .channels = channels, .rows = rows, .columns = columns,
                       .image = channels * rows * columns, .channel = rows * columns,
                       .row = columns, .column = 1};
}

static ptrdiff_t pixel(bn_images a, ptrdiff_t n, ptrdiff_t c, ptrdiff_t row, ptrdiff_t column)
{
    return n * a.image + c * a.channel + row * a.row + column * a.column;
}

static void check_convolution(const bn_kernels *kernels, dtype d, conv_shape s)
{
    const ptrdiff_t size = ITEMSIZES[d], k = s.kernel;
    const ptrdiff_t rows = (s.rows + 2 * s.padding - k) / s.stride + 1;
    const ptrdiff_t columns = (s.columns + 2 * s.padding - k) / s.stride + 1;
    const ptrdiff_t pixels = s.images * s.inputs * s.rows * s.columns;
    const ptrdiff_t results = s.images * s.outputs * rows * columns;
    const ptrdiff_t weights = s.outputs * s.inputs * k * k;
    void *x = values(d, pixels, 5), *dy = values(d, results, 6), *weight = values(d, weights, 7);
    void *bias = values(d, s.outputs, 8), *y = memory(results, size), *dx = memory(pixels, size);
    void *dweight = memory(weights, size), *dbias = memory(s.outputs, size);
    long double *dx_terms = memory(pixels, sizeof(long double));
    long double *dweight_terms = memory(weights, sizeof(long double));

    const bn_window window = {.kernel = k, .stride = s.stride, .before = s.padding, .dilation = 1};
    bn_convolution call = {.kernels = kernels->convolution, .threads = THREADS, .images = s.images,
                           .x = images_of(x, s.inputs, s.rows, s.columns),
                           .y = images_of(y, s.outputs, rows, columns), .weight = weight,
                           .groups = 1, .window = {window, window}, .winograd = s.winograd};
    int found = bn_convolve(&call, bias);
    call.y.data = dy, call.x.data = dx;
    found = found && bn_convolve_dx(&call, NULL);
    call.x.data = x, call.weight = dweight;
    found = found && bn_convolve_dweight(&call, dbias);
    if (!found) fprintf(stderr, "no memory\n"), exit(2);

    for (ptrdiff_t o = 0; o < s.outputs; o++) {
        long double sum_dy = 0;
        for (ptrdiff_t n = 0; n < s.images; n++)
            for (ptrdiff_t place = 0; place < rows * columns; place++) {
                const ptrdiff_t r = place / columns, c = place % columns, i = pixel(call.y, n, o, r, c);
                const long double g = get(d, dy, i);
                long double sum = get(d, bias, o);
                sum_dy += g;
                for (ptrdiff_t t = 0; t < s.inputs * k * k; t++) {
                    const ptrdiff_t row = r * s.stride + t / k % k - s.padding;
                    const ptrdiff_t column = c * s.stride + t % k - s.padding;
                    if (row < 0 || row >= s.rows || column < 0 || column >= s.columns) continue;
                    const ptrdiff_t from = pixel(call.x, n, t / (k * k), row, column);
                    const ptrdiff_t w = o * s.inputs * k * k + t;
                    sum += (long double)get(d, x, from) * get(d, weight, w);
                    dx_terms[from] += g * get(d, weight, w);
                    dweight_terms[w] += g * get(d, x, from);
                }
                compare("convolution", d, get(d, y, i), sum, 4.0L * s.inputs * k * k);
            }
        compare("dbias", d, get(d, dbias, o), sum_dy, 2.0L * s.images * rows * columns);
    }
    for (ptrdiff_t i = 0; i < pixels; i++)
        compare("convolution's dx", d, get(d, dx, i), dx_terms[i], 4.0L * s.outputs * k * k);
    for (ptrdiff_t w = 0; w < weights; w++)
        compare("dweight", d, get(d, dweight, w), dweight_terms[w],
                4.0L * s.images * rows * columns);
    free(x), free(dy), free(weight), free(bias), free(y), free(dx), free(dweight), free(dbias);
    free(dx_terms), free(dweight_terms);
}

/* ---- all of them ---- */

static const shape SHAPES[] = {
    {1, 1, 2, 0},  {2, 3, 7, 0},   {5, 33, 1, 0}, {3, 5, 129, 0}, {2, 2, 1000, 0},
    {2, 3, 7, 1},  {17, 33, 3, 1}, {9, 64, 5, 1}, {3, 17, 61, 1}, {1, 1030, 3, 1},
    {9, 2, 9001, 0}, {7, 3, 9001, 1}, /* several chunks */
};
static const conv_shape CONVOLUTIONS[] = {
    {1, 1, 1, 5, 7, 3, 1, 1, 0}, {2, 3, 5, 9, 11, 3, 2, 1, 0}, {2, 17, 33, 6, 5, 1, 1, 0, 0},
    {1, 4, 9, 8, 13, 5, 1, 2, 0}, {2, 19, 21, 9, 7, 3, 1, 1, 1}, {1, 33, 32, 6, 6, 3, 1, 0, 1},
};

int main(void)
{
    const bn_isa *isa;
    for (int i = 0; (isa = bn_supported_isa(i)) != NULL; i++) {
        const bn_kernels *kernels[] = {isa->float32, isa->float64, isa->bfloat16};
        isa_name = isa->name;
        for (dtype d = FLOAT32; d <= BFLOAT16; d++)
            for (size_t k = 0; k < sizeof SHAPES / sizeof *SHAPES; k++)
                check_normalization(kernels[d], d, SHAPES[k]);
        for (dtype d = FLOAT32; d <= FLOAT64; d++)
            for (size_t k = 0; k < sizeof CONVOLUTIONS / sizeof *CONVOLUTIONS; k++)
                check_convolution(kernels[d], d, CONVOLUTIONS[k]);
        printf("%s: %d wrong\n", isa->name, failures);
    }
    return failures > 0;
}
