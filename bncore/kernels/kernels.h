/* The kernels: serial loops over one chunk of a call's tensors. They know nothing of Python objects,
   threads or CPU features. Each isa_*.c compiles all of them for one instruction set. */
#ifndef BN_KERNELS_H
#define BN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    /* partial sums of a run; equal for all instruction sets, so that bits are too */
    BN_LANES = 16,     /* in double, and those of pooling */
    BN_SUM_LANES = 64, /* in the arithmetic's dtype: four times BN_LANES */
    BN_SAMPLES = 16,   /* values of a channel from which its mean is guessed, at most */
    BN_LINE = 64,  /* bytes of a cache line */
    BN_PAD = 64,   /* values that a kernel may read beyond the end of a per-channel vector */
    BN_RUN_CHANNELS = 8, /* channels whose gradients of a run's weights are added in the arithmetic's dtype */
    BN_WIDEST_ROW = 1024, /* channels-last columns whose sums a kernel holds at once; rows that are */
                          /* taken together as one must not be wider */
};

/* A tensor, or the part of one that a chunk covers: its first value, and the distances in bytes to the
   next row and the next channel. data is NULL where a call has no such tensor. */
typedef struct {
    char *data;
    ptrdiff_t row_stride, channel_stride;
} bn_tensor;

/* Forward: x, residual, y. Backward: x, dy, dx, dresidual; y only where a residual was added, to tell
   the sign of what was activated. An output may be the same memory as an input. */
typedef struct {
    bn_tensor x, residual, y, dy, dx, dresidual;
    /* Planar only: a weight and a bias for each value of a run, the same for all channels; or NULL. They
       have the arithmetic's dtype, and BN_PAD finite values more than the run. */
    const void *run_weight, *run_bias;
} bn_tensors;
enum { BN_X, BN_RESIDUAL, BN_Y, BN_DY, BN_DX, BN_DRESIDUAL, BN_TENSORS }; /* its members, as an array's */

/* The loops over a chunk.
   planar: in each row, one run of n contiguous values for each channel.
   channels-last: rows of n contiguous values, value i belonging to channel i mod channels; then one
   row of `tail` values. n and tail are multiples of channels. */
typedef struct {
    int channels_last;
    ptrdiff_t rows, channels, n, tail;
    ptrdiff_t tile; /* planar: rows that a kernel sums before it goes on to the next channels */
} bn_extent;

/* What follows the normalization in the same pass, and how outputs are written. */
typedef enum { BN_NO_ACTIVATION, BN_RELU, BN_LEAKY_RELU, BN_RELU6 } bn_activation;
typedef struct {
    bn_activation activation;
    double negative_slope; /* of the leaky ReLU */
    int stream;            /* write past the cache (non-temporal stores) */
} bn_epilogue;

/* Per-channel coefficients, as vectors of the arithmetic's dtype. With xm = x - mean:
     normalize:  z = xm * scale + shift (+ residual), y = activation(z)
     gradient:   dx = (g - mean_g - xm * slope) * scale, where g = dy * activation'(z)
   mean is rounded to the dtype; shift and mean_g correct for the rounding.
   Where channels with weights of their own share a statistic, the gradient has a weight and a factor too,
   which are NULL elsewhere:
     gradient:   dx = (g * weight - mean_g - xm * slope) * factor
   With the tensors' run_weight and run_bias:
     normalize:  z = (xm * scale + shift) * run_weight + run_bias (+ residual)
     gradient:   dx = (g * run_weight - mean_g - xm * slope) * scale */
typedef struct {
    void *mean, *scale, *shift, *mean_g, *slope, *weight, *factor;
} bn_coefficients;

/* What coefficients are made of. Channel c belongs to statistic c / span and to parameter c % parameters.
   In batch normalization each channel has its own of both. In instance and group normalization, a channel
   is that of one sample: all samples share the parameters, and `span` adjoining channels a statistic.
   weight and bias may be NULL, and var where only the mean matters. */
typedef struct {
    ptrdiff_t span, parameters;
    const double *mean, *var;                 /* by statistic */
    const double *weight, *bias;              /* by parameter */
    const double *sum_g, *sum_g_xm, *count;   /* by statistic; for the gradient only */
    double eps;
} bn_channel_values;

/* ---- convolutions ---- */

typedef struct {
    ptrdiff_t begin, end;
} bn_range;

/* A grid of output pixels of some images, and the taps of which each is computed: tap_rows * tap_columns,
   and of each tap `inputs` contiguous values of x. Depthwise, a tap has one value for each output channel,
   which goes to this channel alone, and `inputs` is 1. x begins at the first tap of the first pixel. The
   steps go to the same pixel of the next image, to the next pixel in the column or in the row, and from a
   tap to the one below and beside it; they count values. */
typedef struct {
    int depthwise;
    ptrdiff_t images, rows, columns;
    ptrdiff_t x_image, x_row, x_column, y_image, y_row, y_column;
    ptrdiff_t tap_rows, tap_columns, inputs;
    ptrdiff_t x_tap_row, x_tap_column;

    /* For the weight's gradient: for each row of taps, the rows of the grid whose x is in the image and not
       among the zeros around it; for each column of taps, the columns; and the number of the grid's first
       row and column. */
    const bn_range *row_pixels, *column_pixels;
    ptrdiff_t row, column;
} bn_grid;

/* Where the weight of the tap in row r and column c, of input channel i and output channel o is:
   first + r * row_step + c * column_step + i * input_step + o * output_step. */
typedef struct {
    ptrdiff_t tap_rows, tap_columns, inputs, outputs;
    ptrdiff_t first, row_step, column_step, input_step, output_step;
} bn_weights;

/* From one pixel, and from one channel, to the next, in values. */
typedef struct {
    ptrdiff_t pixel, channel;
} bn_pixel_steps;

/* What is done with the sums before they become y: they are added to what y holds already, and activated. */
typedef struct {
    int add;
    bn_activation activation;
    double negative_slope;
} bn_conv_end;

/* The kernels of convolutions for one dtype. Buffers have their channels last; those of outputs, of dy,
   and of x if it is depthwise, have whole vectors of channels. */
typedef struct {
    ptrdiff_t itemsize; /* bytes of a value */
    ptrdiff_t lanes;    /* values of a vector */
    ptrdiff_t block;    /* output channels that are computed together */

    /* The weights of the block that begins at output channel o, in the order in which `convolve` reads
       them: for each tap, for each input channel, the output channels. */
    void (*pack_weights)(void *packed, const void *weight, const bn_weights *w, ptrdiff_t o);
    /* y = activation(bias + x * weight (+ y)) at each pixel of the grid. The bias has whole vectors too. */
    void (*convolve)(void *y, const void *x, const void *weight, const void *bias, const bn_grid *grid,
                     ptrdiff_t outputs, const bn_conv_end *end);
    /* Winograd's convolution of 3 x 3. A place is one of the 16 products of a tile. What is transformed has
       a vector of channels for each tile, and the tiles of a place one after the other; `place` is the
       distance to the next place. */

    /* The weights of a block of output channels, for each place as `convolve` reads them. */
    void (*winograd_weights)(void *packed, ptrdiff_t place, const void *weight, const bn_weights *w,
                             ptrdiff_t o);
    /* `tiles` tiles side by side, which begin every second pixel. */
    void (*winograd_input)(void *to, ptrdiff_t place, const void *x, ptrdiff_t row, ptrdiff_t column,
                           ptrdiff_t tiles, ptrdiff_t channels);
    /* Their outputs, `rows` (1 or 2) * `columns`, of `pitch` channels each. */
    void (*winograd_output)(void *y, ptrdiff_t row, ptrdiff_t column, const void *from, ptrdiff_t place,
                            const void *bias, ptrdiff_t tiles, ptrdiff_t rows, ptrdiff_t columns,
                            ptrdiff_t pitch, const bn_conv_end *end);
    /* Tiles of dy, whose products with those of x are summed by add_dweight for each place. */
    void (*winograd_dy)(void *to, ptrdiff_t place, const void *dy, ptrdiff_t row, ptrdiff_t column,
                        ptrdiff_t tiles, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t pitch);
    /* The gradient of the weight from these sums, like sum_dweights. */
    void (*winograd_dweight)(void *dweight, const bn_weights *w, const void *parts, ptrdiff_t count,
                             ptrdiff_t pitch, ptrdiff_t i);
    /* Add to dweight, which has `pitch` output channels in a row for each value of each tap, the sum over
       all pixels of x * dy, for output channels `begin` to `end`. */
    void (*add_dweight)(void *dweight, const void *x, const void *dy, const bn_grid *grid,
                        ptrdiff_t begin, ptrdiff_t end, ptrdiff_t pitch);
    /* Add to dbias the sum over all pixels of dy, for output channels `begin` to `end`. */
    void (*add_dbias)(void *dbias, const void *dy, const bn_grid *grid, ptrdiff_t begin, ptrdiff_t end);
    /* The sum of `count` gradients of the weight, one after the other in `parts`, added in this order: for
       input channel i. */
    void (*sum_dweights)(void *dweight, const bn_weights *w, const void *parts, ptrdiff_t count,
                         ptrdiff_t pitch, ptrdiff_t i);
    /* Copy a row of pixels from one order in memory to another. */
    void (*copy_pixels)(void *to, bn_pixel_steps to_steps, const void *from,
                        bn_pixel_steps from_steps, ptrdiff_t pixels, ptrdiff_t channels);
} bn_conv_kernels;

/* ---- pooling ---- */

enum { BN_POOL_RUN = 64 }; /* outputs of a line, at most */

/* From an output to the next in its line, and to the same one of the next line. */
typedef struct {
    ptrdiff_t output, line;
} bn_pool_steps;

/* Some outputs of a pooling: lines of up to BN_POOL_RUN, over the channels or over the columns, whichever
   lie side by side in memory. All their windows have the same `rows` * `columns` pixels in reach. Steps in
   x, y and the positions count values; x, y and dx, dy begin at the first output and at the first pixel of
   its window. */
typedef struct {
    ptrdiff_t n, lines;
    bn_pool_steps x, y, position;
    ptrdiff_t rows, columns, row, column; /* the pixels of a window, and the steps between them in x */
    double scale;                         /* of a mean */

    /* The position of a maximum is the number of its pixel: `first` for the first pixel of the first
       window; the next row of pixels has numbers larger by `pitch`. */
    int position_bytes;                   /* 1 or 4 */
    ptrdiff_t first, pitch;
    /* For each channel 1, -1 or 0, with which its values are multiplied before they are compared; or NULL.
       Then the lines go over channels, and all tensors are channels-last, with positions of one byte. */
    const void *sign;
    ptrdiff_t skipped;                    /* columns from that pixel to the first of dx; see below */
    bn_pool_steps number;
} bn_pool_block;

/* The kernels of pooling for one dtype. */
typedef struct {
    ptrdiff_t itemsize; /* bytes of a value */

    /* The maximum of each window, and where it is, unless `positions` is NULL. */
    void (*max)(const bn_pool_block *b, const void *x, void *y, void *positions);
    /* Add each dy to the dx at its position, unless that is in a row out of reach. All columns are in reach,
       so that windows of a block may be cut off there differently. With positions of one byte, `first` is
       the number of a window's first pixel in the row, be it left of the image; dx begins `skipped` columns
       later. */
    void (*add_max_gradient)(const bn_pool_block *b, void *dx, const void *dy, const void *positions);
    /* Set all pixels of the windows: to dy at the position, to 0 elsewhere. */
    void (*set_max_gradient)(const bn_pool_block *b, void *dx, const void *dy, const void *positions);
    /* The same for some pixels of one row, channels-last without gaps, of windows side by side: dx begins at
       the first of the pixels, dy and the positions, of one byte, at the row's first window. `number` is that
       of the first pixel of a window in this row. */
    void (*spread_max)(void *dx, const void *dy, const unsigned char *positions, ptrdiff_t channels,
                       bn_range pixels, ptrdiff_t kernel, ptrdiff_t number);

    /* The sum of each window, times scale. */
    void (*mean)(const bn_pool_block *b, const void *x, void *y);
    /* Add dy * scale to all pixels of its window; set them to it. */
    void (*add_mean_gradient)(const bn_pool_block *b, void *dx, const void *dy);
    void (*set_mean_gradient)(const bn_pool_block *b, void *dx, const void *dy);
} bn_pool_kernels;

/* ---- resampling ---- */

/* How the outputs along one axis are computed from the inputs along it: output j is a weighted sum of
   count[j] adjoining inputs, from first[j] on. weights[k * outputs + j] is the weight of the k-th of them. */
typedef struct {
    ptrdiff_t outputs;
    const ptrdiff_t *first, *count;
    const void *weights; /* of the dtype of the images */
    int copies;          /* whether every output with an input is this one input itself */
    bn_range run;        /* with copies, where all others have no input: outputs of inputs side by side */
} bn_taps;

/* The kernels of resampling for one dtype. Terms are added in the order of the inputs. */
typedef struct {
    ptrdiff_t itemsize; /* bytes of a value */

    /* One output for each of n values side by side: value i of input k is from[k * input + i * step]. */
    void (*combine)(void *to, const void *from, ptrdiff_t input, ptrdiff_t step, const bn_taps *taps,
                    ptrdiff_t output, ptrdiff_t n);
    /* All outputs of one line of inputs, which lie side by side; the outputs lie `step` values apart. */
    void (*resample_line)(void *to, ptrdiff_t step, const void *from, const bn_taps *taps);
} bn_resample_kernels;

/* ---- elementwise passes ---- */

typedef struct {
    double beta, threshold;
} bn_softplus;

/* The slopes of a PReLU, in the tensors' dtype. In memory, `run` values of a channel lie side by side, then
   those of the next channel. */
typedef struct {
    const void *slope;
    ptrdiff_t channels, run;
} bn_prelu;

/* What a dropout draws its zeros from. Value i of a tensor has a number of 32 random bits, which follows
   from the seed and i alone; where it is below the threshold, the value is dropped. */
typedef struct {
    uint64_t seed, threshold; /* the threshold is at most 2^32: then all values are dropped */
    double scale;             /* of the values that are kept */
} bn_dropout;

/* A step of stochastic gradient descent: b = momentum * b + gain * (grad + decay * p), then
   p -= lr * b, or with Nesterov's momentum p -= lr * (grad + decay * p) and p -= lr * momentum * b. */
typedef struct {
    double lr, decay, momentum, gain;
    int nesterov;
} bn_sgd;

/* A step of Adam: p = shrink * p, g = grad + decay * p, m = beta1 * m + (1 - beta1) * g,
   v = beta2 * v + (1 - beta2) * g * g, then p -= step_size * m / (sqrt(v) / root + eps). */
typedef struct {
    double shrink, decay, beta1, beta2, root, eps, step_size;
} bn_adam;

/* A step of RMSprop: g = grad + decay * p, v = alpha * v + (1 - alpha) * g * g, and if it is centered
   m = alpha * m + (1 - alpha) * g. The step is g / (sqrt(v) + eps), if it is centered
   g / (sqrt(v - m * m) + eps). With momentum b = momentum * b + step is the step. Then p -= lr * step. */
typedef struct {
    double lr, decay, alpha, eps, momentum;
} bn_rmsprop;

/* Values `begin` to `end` of a pass over tensors of equal length without gaps. The arguments of `tensor`
   and the type of the options stand at each kernel; outputs come first. */
typedef void (*bn_elementwise_kernel)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end,
                                      const void *options);

/* The elementwise passes for one dtype. Where the order of the operations is that of NumPy, the bits are
   too. A mask has one byte for each value, 1 where it is kept. */
typedef struct {
    bn_elementwise_kernel relu;         /* y, x: y = x where x > 0 or x is NaN, else 0 */
    bn_elementwise_kernel relu_dx;      /* dx, dy, y: the gradient passes where y is NaN, too */
    bn_elementwise_kernel relu6;        /* y, x: y = relu(x) where it is below 6, else 6 */
    bn_elementwise_kernel relu6_dx;     /* dx, dy, y: the gradient passes where y is NaN, too */
    bn_elementwise_kernel leaky_relu;   /* y, a, x; double *slope: y = a where x > 0, else slope * a */
    bn_elementwise_kernel sigmoid_dx;   /* dx, dy, y */
    bn_elementwise_kernel tanh_dx;      /* dx, dy, y */
    bn_elementwise_kernel gelu;         /* y, x; int, of no meaning */
    bn_elementwise_kernel gelu_dx;      /* dx, dy, x; int: in these kernels backward has the option, too */
    bn_elementwise_kernel gelu_tanh, gelu_tanh_dx; /* the approximation by tanh; int */
    bn_elementwise_kernel silu, silu_dx;           /* int */
    bn_elementwise_kernel elu, elu_dx;             /* double *alpha */
    bn_elementwise_kernel softplus, softplus_dx;   /* bn_softplus */
    bn_elementwise_kernel hardswish, hardswish_dx; /* int */
    bn_elementwise_kernel prelu;        /* y, a, x; bn_prelu: y = a where x > 0, else slope * a */
    bn_elementwise_kernel logistic_loss; /* loss, slope, x, negative, positive: the last two are weights */
    bn_elementwise_kernel add;          /* sum, a, b */
    bn_elementwise_kernel dropout;      /* y, mask, x; bn_dropout: choose the mask, and apply it */
    bn_elementwise_kernel masked;       /* dx, dy, mask; double *scale: dy * mask * scale */
    bn_elementwise_kernel sgd;          /* p, grad; bn_sgd: without momentum */
    bn_elementwise_kernel sgd_momentum; /* p, b, grad; bn_sgd */
    bn_elementwise_kernel adam;         /* p, m, v, grad; bn_adam */
    bn_elementwise_kernel rmsprop; /* p, v, m, b, grad; bn_rmsprop: it is centered if there is m, and has
                                      momentum if there is b; else they are NULL */
} bn_elementwise_kernels;

/* ---- recurrent layers ---- */

/* The sequences of a batch at one step. */
typedef struct {
    ptrdiff_t rows, hidden; /* sequences, and hidden values of each */
    const uint8_t *active;  /* for each sequence, whether it has this step; NULL: all have it */
} bn_step;

/* Tensors have a row for each sequence, without gaps; those of gates and products have 4, 3 or 1 times
   `hidden` values in a row, for the gates one after the other, all others `hidden`. */
typedef void (*bn_step_kernel)(void *const *tensor, const bn_step *step);

/* What a step of a recurrent layer does beside its products. `gate` comes with W x + b and `product` is
   U h0, for the state h0 before the step; the state after it is h. A sequence that does not have the step
   keeps its state.

     RNN   h = tanh(gate + product), or relu
     LSTM  i, f, o = sigmoid(gate + product), g = tanh(gate + product), in the order i, f, g, o;
           c = f c0 + i g, h = o tanh(c)
     GRU   r, z = sigmoid(gate + product), q = product + bias, n = tanh(gate + r q), in the order r, z, n;
           h = (1 - z) n + z h0

   The gates of LSTM and GRU become i, f, g, o and r, z, n. Backward, they become their gradients.
   dy is the gradient of h as an output; that of h as a state comes in two parts, `through` + `product`,
   where the product is that of the step behind this one. `through` becomes what reaches h0 without a
   product, and dc, the gradient of c, that of c0. */
typedef struct {
    bn_step_kernel rnn_tanh, rnn_relu; /* gate, product, h0, h */
    bn_step_kernel rnn_tanh_gradient, rnn_relu_gradient; /* dgate, through, product, dy, h */
    bn_step_kernel lstm;               /* gate, product, h0, h, c0, c */
    bn_step_kernel lstm_gradient;      /* gate, through, product, dy, c0, c, dc */
    bn_step_kernel gru;                /* gate, product, h0, h, q, bias */
    bn_step_kernel gru_gradient;       /* gate, through, product, dy, h0, q, dproduct */
} bn_recurrent_kernels;

/* ---- tables ---- */

/* The kernels of one dtype. In stats, reduce, normalize and gradient, the first element of each
   per-channel argument is that of the chunk's first channel; channels-last, k has one value for each of
   the n columns. */
typedef struct {
    ptrdiff_t itemsize; /* bytes of a value of the data */
    ptrdiff_t realsize; /* bytes of a value of the arithmetic and of the coefficients */

    /* A number of the arithmetic's dtype near the mean of each channel, against cancellation: the mean of
       some values, value k at x + places[k]; and how far apart they are. The samples are a power of two,
       at most BN_SAMPLES. */
    void (*guess_mean)(const char *x, const ptrdiff_t *places, int samples, ptrdiff_t channel_stride,
                       ptrdiff_t channels, double *mean, double *spread);

    /* Coefficients of channels `begin` to `end`. */
    void (*prepare_normalize)(const bn_channel_values *values, ptrdiff_t begin, ptrdiff_t end,
                              const bn_coefficients *k);
    void (*prepare_gradient)(const bn_channel_values *values, ptrdiff_t begin, ptrdiff_t end,
                             const bn_coefficients *k);

    /* Σxm and Σxm² of each channel, xm = x - mean. They are exact to about the digits of the
       arithmetic's dtype. With `in_double`, values and products may be of any size; that is slow. */
    void (*stats)(bn_tensor x, bn_extent e, const void *mean, int in_double, double *sum_xm,
                  double *sum_xm_xm);
    /* Σg and Σg·xm of each channel, in the same way; with a run_weight, its products with g. */
    void (*reduce)(const bn_tensors *t, bn_extent e, bn_coefficients k, const bn_epilogue *epilogue,
                   int in_double, double *sum_g, double *sum_g_xm);
    /* Planar: add to dweight Σg·(xm * scale + shift) and to dbias Σg over all channels, for each value of a
       run: the gradients of run_weight and run_bias. */
    void (*add_run_gradients)(const bn_tensors *t, bn_extent e, bn_coefficients k,
                              const bn_epilogue *epilogue, double *dweight, double *dbias);
    /* Turn Σg·(x - k.mean) of channels `begin` to `end`, where k.mean is rounded, into Σg·(x - mean). */
    void (*correct_for_mean)(const bn_channel_values *values, ptrdiff_t begin, ptrdiff_t end,
                             const double *sum_g, double *sum_g_xm);

    /* y of the chunk; dx of the chunk, and dresidual = g. */
    void (*normalize)(const bn_tensors *t, bn_extent e, bn_coefficients k,
                      const bn_epilogue *epilogue);
    void (*gradient)(const bn_tensors *t, bn_extent e, bn_coefficients k,
                     const bn_epilogue *epilogue);

    /* NULL for 16-bit dtypes. */
    const bn_conv_kernels *convolution;
    const bn_pool_kernels *pooling;
    const bn_resample_kernels *resampling;
    const bn_elementwise_kernels *elementwise;
    const bn_recurrent_kernels *recurrent;
} bn_kernels;

/* The kernels of one instruction set. */
typedef struct {
    const char *name;
    const bn_kernels *float32, *float64, *float16, *bfloat16;
} bn_isa;

#endif
