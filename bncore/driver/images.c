#include "images.h"

#include "integers.h"
#include "parallel.h"

enum {
    PIXELS = 256, /* of an image that a thread copies at a time: the rows of both orders stay in L1 */
    SERIAL_BELOW = 32768, /* values: waking threads costs more than they save */
};

typedef struct {
    const bn_conv_kernels *kernels;
    bn_images to, from;
    ptrdiff_t parts; /* of an image */
} image_copy;

static int rows_are_one_run(const bn_images *images)
{
    return images->row == images->columns * images->column;
}

/* Pixels `begin` to `end` of a row; the whole image is one row if it can be one. */
static void copy_pixels(const image_copy *c, ptrdiff_t image, ptrdiff_t row, ptrdiff_t begin, ptrdiff_t end)
{
    const bn_images *to = &c->to, *from = &c->from;
    const ptrdiff_t itemsize = c->kernels->itemsize;
    c->kernels->copy_pixels(
        to->data + (image * to->image + row * to->row + begin * to->column) * itemsize,
        (bn_pixel_steps){to->column, to->channel},
        from->data + (image * from->image + row * from->row + begin * from->column) * itemsize,
        (bn_pixel_steps){from->column, from->channel}, end - begin, to->channels);
}

static void copy_parts(const void *context, ptrdiff_t first, ptrdiff_t last, int worker)
{
    (void)worker;
    const image_copy *c = context;
    const ptrdiff_t pixels = c->to.columns;
    for (ptrdiff_t i = first; i < last; i++) {
        const ptrdiff_t part = i % c->parts, begin = part % bn_ceil_div(pixels, PIXELS) * PIXELS;
        const ptrdiff_t row = part / bn_ceil_div(pixels, PIXELS);
        copy_pixels(c, i / c->parts, row, begin, bn_min(begin + PIXELS, pixels));
    }
}

void bn_copy_images(const bn_conv_kernels *kernels, int threads, ptrdiff_t images, bn_images to,
                    bn_images from)
{
    image_copy c = {.kernels = kernels, .to = to, .from = from};
    const double values = (double)images * to.channels * to.rows * to.columns;
    if (values == 0) return;
    if (rows_are_one_run(&to) && rows_are_one_run(&from)) {
        c.to.columns = c.from.columns = to.rows * to.columns;
        c.to.rows = c.from.rows = 1;
    }
    c.parts = c.to.rows * bn_ceil_div(c.to.columns, PIXELS);
    bn_parallel_for(images * c.parts, values < SERIAL_BELOW ? 1 : threads, copy_parts, &c);
}
