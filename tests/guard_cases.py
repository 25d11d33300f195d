"""The guard-page table: calls of every kernel, with shapes around the lengths of its vectors.

`cases(full)` yields pairs of a name and a function without arguments. Values do not matter here.
Run as a program, this makes all arrays lie beside an inaccessible page and calls each of them:

    BN_ISA=avx2 python tests/guard_cases.py end reduced

Each name is printed before its call, so that the last one is the call in which the process ended.
"""

import faulthandler
import os
import sys
import traceback
import warnings

import guarded_memory
import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import as_strided

import bn
import bncore
from bn import nn, onnx
from bn.nn import conv_direct

SINGLE, DOUBLE = np.float32, np.float64
FLOATS = [SINGLE, DOUBLE, np.float16, ml_dtypes.bfloat16]
FEW = [1, 7, 17, 65]
# Functions of the core that look into no array, or that NumPy does the work of.
WITHOUT_KERNELS = {
    "available_isas", "chunks", "copy_together", "find_host_team", "has_openmp", "has_vectors",
    "max_threads", "memory_info", "select_isa", "selected_isa", "set_max_threads",
    "set_memory_limit", "set_threads", "threads_asked", "trim_memory",
}  # fmt: skip
missed = {}  # the core's functions by name, until they are called


def filled(shape, dtype):
    """Make values between -2 and 2, in C order."""
    values = np.arange(np.prod(shape, dtype=int)) % 9 / 2 - 2
    return values.astype(dtype).reshape(shape)


# ---- layouts, whose last value ends exactly where their memory ends ----


def plain(shape, dtype):
    return filled(shape, dtype)


def channels_last(shape, dtype):
    return np.moveaxis(filled((shape[0], *shape[2:], shape[1]), dtype), -1, 1)


def row_gaps(shape, dtype):
    """Rows of channels or pixels with three unused values between them."""
    pitch = shape[-1] + 3
    rows = int(np.prod(shape[:-1]))
    flat = filled((rows - 1) * pitch + shape[-1], dtype)
    steps = [pitch * int(np.prod(shape[i + 1 : -1])) for i in range(len(shape) - 1)]
    return as_strided(flat, shape, [s * flat.itemsize for s in [*steps, 1]])


def every_second(shape, dtype):
    flat = filled(2 * int(np.prod(shape)) - 1, dtype)
    steps = [2 * int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    return as_strided(flat, shape, [s * flat.itemsize for s in steps])


def backwards(shape, dtype):
    return filled(shape, dtype)[(slice(None, None, -1),) * len(shape)]


def misaligned(shape, dtype):
    """One byte lies between the start of the memory, or its end, and the values."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(nbytes + 1, np.uint8)
    raw = raw[1:] if raw.ctypes.data % 2 == 0 else raw[:-1]
    array = raw.view(dtype).reshape(shape)
    array[...] = filled(shape, dtype)
    return array


LAYOUTS = [plain, channels_last, row_gaps, every_second, backwards, misaligned]


# ---- batch normalization ----


def batch_norm_shapes(full):
    """Yield shapes and channel axes: long and short rows, many and few channels."""
    lengths = range(1, 201) if full else FEW
    channels = range(1, 71) if full else FEW
    for n in lengths:
        yield (2, 3, n), 1
        yield (n + 1, 1), 1
    for c in channels:
        yield (5, c), 1
        yield (2, 2, 3, c), -1
    if full:
        yield (3, 70001), 0  # more than one chunk
        yield (9, 70, 31, 33), 1
        yield (70, 31, 33, 9), 3


def vectors(channels, dtype):
    return (np.linspace(0.5, 2, channels).astype(dtype) for _ in range(4))


def normalization(x, dy, axis):
    """Yield each function of batch normalization for x, a dy, and outputs like them."""
    channels = x.shape[axis]
    mean, var, weight, bias = vectors(channels, DOUBLE if x.dtype == DOUBLE else SINGLE)
    stats, sums = bn.stats(x, axis), bn.backward_reduce(dy, x, mean, axis=axis)
    at = {"axis": axis}
    fused = {**at, "activation": "leaky_relu"}

    yield "stats", lambda: bn.stats(x, axis)
    yield (
        "weighted stats",
        lambda: bn.stats(x, axis, weights=np.ones((len(x), *[1] * (x.ndim - 1)))),
    )
    yield "normalize", lambda: bn.normalize(x, mean, var, weight, bias, **at)
    yield "normalize into out", lambda: bn.normalize(x, mean, var, out=np.empty_like(x), **at)
    yield "normalize fused", lambda: bn.normalize(x, mean, var, weight, bias, residual=dy, **fused)
    yield "normalize_batch", lambda: bn.normalize_batch(x, weight, bias, **at)
    yield "normalize_batch fused", lambda: bn.normalize_batch(x, weight, residual=dy, **fused)
    yield "backward_reduce", lambda: bn.backward_reduce(dy, x, mean, **at)
    yield "backward_apply", lambda: bn.backward_apply(dy, x, mean, var, weight, 1e-5, sums, **at)
    yield "backward_apply of constants", lambda: bn.backward_apply(dy, x, mean, var, weight, **at)
    yield "backward_batch", lambda: bn.backward_batch(dy, x, stats, weight, **at)
    yield (
        "backward_batch gated",
        lambda: bn.backward_batch(dy, x, stats, weight, bias=bias, **fused),
    )
    yield (
        "backward_batch fused",
        lambda: bn.backward_batch(
            dy, x, stats, weight, bias=bias, y=dy, dresidual=np.empty_like(x), **fused
        ),
    )
    yield (
        "double backward",
        lambda: bn.batch_norm_double_backward(dy, weight, bias, dy, x, mean, var, weight, **at),
    )
    yield "batch_norm", lambda: bn.batch_norm(x, mean.copy(), var.copy(), weight, bias, True, **at)


def batch_norm_cases(full):
    for dtype in FLOATS:
        for shape, axis in batch_norm_shapes(full):
            x, dy = filled(shape, dtype), filled(shape, dtype)[::-1].copy()
            for name, call in normalization(x, dy, axis):
                yield f"{name} of {shape}, axis {axis}, {np.dtype(dtype)}", call
        sizes = [*range(1, 40), 64, 65] if full else [7]
        for layout in LAYOUTS[1:]:
            for n in sizes:
                for shape in ((2, 3, n), (2, n, 3), (2, n, 2, 3)):
                    x, dy = layout(shape, dtype), layout(shape, dtype)
                    for name, call in normalization(x, dy, 1):
                        yield f"{name} of {layout.__name__} {shape}, {np.dtype(dtype)}", call


SAMPLE_NORMS = [
    ("LayerNorm", lambda shape: bn.LayerNorm(shape[-1])),
    ("RMSNorm", lambda shape: bn.RMSNorm(shape[2:])),
    ("GroupNorm of one", lambda shape: bn.GroupNorm(1, shape[1])),
    ("InstanceNorm", lambda shape: bn.GroupNorm(shape[1], shape[1])),
]


def sample_norm_cases(full):
    """Yield normalizations of samples: rows, and groups of channels, planar and channels-last."""
    for dtype in FLOATS:
        shapes = [(3, 2, n) for n in (range(1, 201) if full else FEW)]
        shapes += [(2, c, 3) for c in (range(2, 71) if full else FEW[1:])]
        for layout in LAYOUTS:
            for shape in shapes if layout in (plain, channels_last) else shapes[:3]:
                x = layout(shape, dtype)
                for name, make in SAMPLE_NORMS:
                    text = f"{name} of {layout.__name__} {shape}, {np.dtype(dtype)}"
                    yield text, there_and_back(make(shape), x)
        x = filled((5, 33), dtype)
        model = nn.Sequential(bn.LayerNorm(33), nn.LeakyReLU())
        if dtype in (SINGLE, DOUBLE):
            yield f"LayerNorm and LeakyReLU, {np.dtype(dtype)}", there_and_back(model, x)


def statistics_cases(full):
    """Yield what is done with the values of channels, in steps of 1 and 2."""
    for c in range(1, 71) if full else FEW:
        for step in (1, 2):
            values = [np.ones(step * (c - 1) + 1)[::step] for _ in range(3)]
            part, sums = bn.Stats(*values), bn.BackwardSums(*values)
            running = [np.ones(step * (c - 1) + 1, SINGLE)[::step] for _ in range(2)]
            name = f"of {c} channels in steps of {step}"
            yield f"merge {name}", lambda p=part: bn.merge([p, p])
            yield f"merge sums {name}", lambda s=sums: bn.merge([s, s])
            yield f"commit {name}", lambda p=part, r=running: bn.commit(p, *r)
            yield f"dweight {name}", lambda s=sums, r=running: s.dweight(r[0])
            weight = filled((c, 3), SINGLE)
            yield f"fold_arrays {name}", lambda w=weight, r=running: bn.fold_arrays(w, None, *r)
            x = filled((2, c), SINGLE)
            four = [np.ones(c, SINGLE) for _ in range(4)]
            yield (
                f"onnx {name}",
                lambda x=x, f=four: onnx.BatchNormalization(x, *f, training_mode=1),
            )


# ---- layers ----


def there_and_back(layer, x, **options):
    """Run the forward pass and the backward pass of a layer, without and with its parameters."""

    def call():
        layer.zero_grad()
        y = layer(x, **options)
        layer.backward(np.ones_like(y))

    return call


ELEMENTWISE = [
    ("ReLU", nn.ReLU),
    ("ReLU6", nn.ReLU6),
    ("LeakyReLU", nn.LeakyReLU),
    ("Sigmoid", nn.Sigmoid),
    ("Tanh", nn.Tanh),
    ("GELU", nn.GELU),
    ("GELU by tanh", lambda: nn.GELU("tanh")),
    ("SiLU", nn.SiLU),
    ("ELU", nn.ELU),
    ("Softplus", nn.Softplus),
    ("Hardswish", nn.Hardswish),
    ("PReLU", nn.PReLU),
    ("LogSoftmax", nn.LogSoftmax),
    ("Softmax", nn.Softmax),
    ("Dropout", lambda: nn.Dropout(0.5, rng=0)),
    ("Residual", lambda: nn.Residual(nn.Tanh())),
]


def elementwise_cases(full):
    for dtype in (SINGLE, DOUBLE):
        for n in range(1, 201) if full else FEW:
            for shape in ((2, n), (2, 3, n)):
                name = f"PReLU of the channels of {shape}, {np.dtype(dtype)}"
                yield name, there_and_back(nn.PReLU(shape[1]), filled(shape, dtype))
            x = filled((n,), dtype)
            for name, make in ELEMENTWISE:
                yield f"{name} of {n}, {np.dtype(dtype)}", there_and_back(make(), x)
        for layout in LAYOUTS:
            for n in FEW:
                x = layout((2, 3, n), dtype)
                for name, make in ELEMENTWISE:
                    text = f"{name} of {layout.__name__} (2, 3, {n}), {np.dtype(dtype)}"
                    yield text, there_and_back(make(), x)


def loss_cases(full):
    def loss_of(criterion, y, target):
        def call():
            criterion(y, target)
            criterion.backward()

        return call

    for dtype in (SINGLE, DOUBLE):
        for n in range(1, 201) if full else FEW:
            y, classes = filled((3, n), dtype), np.full(3, n - 1)
            p = (abs(y) + 1) / (abs(y) + 1).sum(axis=1, keepdims=True)
            name = f"of (3, {n}), {np.dtype(dtype)}"
            yield f"CrossEntropyLoss {name}", loss_of(nn.CrossEntropyLoss(), y, classes)
            yield (
                f"CrossEntropyLoss of probabilities {name}",
                loss_of(nn.CrossEntropyLoss(from_logits=False), p, classes),
            )
            for kind in (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.BCEWithLogitsLoss):
                yield f"{kind.__name__} {name}", loss_of(kind(), y, p)


OPTIMIZERS = [
    ("SGD", nn.SGD, {}),
    ("SGD with momentum", nn.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", nn.Adam, {}),
    ("AdamW", nn.AdamW, {}),
    ("RMSprop", nn.RMSprop, {}),
    ("RMSprop, centered, with momentum", nn.RMSprop, {"centered": True, "momentum": 0.9}),
]


def optimizer_cases(full):
    for dtype in (SINGLE, DOUBLE):
        for n in range(1, 201) if full else FEW:
            for name, kind, options in OPTIMIZERS:
                for layout in (plain, backwards, misaligned):
                    p = nn.Parameter(layout((n,), dtype))
                    p.grad = layout((n,), dtype)
                    text = f"{name} of {layout.__name__} {n}, {np.dtype(dtype)}"
                    yield text, kind([p], lr=0.1, **options).step
                params = [nn.Parameter(plain((m,), dtype)) for m in (n, 1, n + 1)]
                for p in params:
                    p.grad = plain(p.shape, dtype)
                text = f"{name} of {n}, 1 and {n + 1} values, {np.dtype(dtype)}"
                yield text, kind(params, lr=0.1, **options).step


CONVOLUTIONS = {
    "1 x 1": (1, {}),
    "3 x 3": (3, {"padding": 1}),
    "3 x 3 inside": (3, {}),
    "3 x 3, stride 2": (3, {"stride": 2, "padding": 1}),
    "2 x 3, dilation 2": ((2, 3), {"dilation": 2, "padding": 2}),
    "7 x 7, stride 2": (7, {"stride": 2, "padding": 3}),
}


def convolutions(channels, sizes, dtype, layout):
    """Yield convolutions of so many channels: whole ones, in groups, and depthwise."""
    pairs = [(channels, channels, 1), (channels, 5, 1), (3, channels, 1)]
    pairs += [(channels, channels, channels), (2 * channels, 2 * channels, 2)]
    for before, after, groups in pairs:
        for name, (kernel, options) in CONVOLUTIONS.items():
            for size in sizes:
                x = layout((1, before, *size), dtype)
                conv = nn.Conv2d(
                    before, after, kernel, groups=groups, rng=0, dtype=dtype, **options
                )
                text = (
                    f"convolution {name} of {layout.__name__} {x.shape} to {after} channels in "
                    f"{groups} groups, {np.dtype(dtype)}"
                )
                with nn.winograd(False):
                    yield text, there_and_back(conv, x)
                if kernel == 3 and groups == 1 and dtype == SINGLE:
                    yield f"Winograd's {text}", there_and_back(conv, x)


def convolution_cases(full):
    """Yield convolutions whose channels, and whose pixels, end anywhere in a vector."""
    for dtype in (SINGLE, DOUBLE):
        for channels in range(1, 71) if full else [9, 33]:
            yield from convolutions(channels, [(7, 6)], dtype, channels_last)
        for width in range(3, 41) if full else [5]:
            yield from convolutions(16, [(7, width)], dtype, channels_last)
        for layout in LAYOUTS:
            for channels in [1, 3, 16, 17, 24, 33] if full else [17]:
                yield from convolutions(channels, [(8, 9)], dtype, layout)


POOLS = [
    ("MaxPool2d 2", lambda: nn.MaxPool2d(2)),
    ("MaxPool2d 3, 2, 1", lambda: nn.MaxPool2d(3, 2, 1)),
    ("MaxPool2d 17", lambda: nn.MaxPool2d(17, 1, 8)),
    ("AvgPool2d 2", lambda: nn.AvgPool2d(2)),
    ("AvgPool2d 3, 1, 1", lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
    ("MaxPool2d 3, 2, ceil_mode", lambda: nn.MaxPool2d(3, 2, ceil_mode=True)),
    ("AdaptiveAvgPool2d", nn.AdaptiveAvgPool2d),
]
RESAMPLINGS = [
    ("AdaptiveAvgPool2d 3", lambda: nn.AdaptiveAvgPool2d(3)),
    ("Upsample, doubled", lambda: nn.Upsample(scale_factor=2)),
    ("Upsample, bilinear", lambda: nn.Upsample((9, 17), mode="bilinear")),
    ("ZeroPad2d", lambda: nn.ZeroPad2d((1, 2, 0, 3))),
    ("ZeroPad2d of less", lambda: nn.ZeroPad2d(-1)),
]


def pooling_cases(full):
    for dtype in (SINGLE, DOUBLE):
        for layout in LAYOUTS:
            shapes = [(2, c, 5, 6) for c in (range(1, 71) if full else [1, 9, 17, 33])]
            shapes += [(1, 3, 4, w) for w in (range(3, 71) if full else [3, 17])]
            for shape in shapes:
                for name, make in (*POOLS, *RESAMPLINGS):
                    text = f"{name} of {layout.__name__} {shape}, {np.dtype(dtype)}"
                    yield text, there_and_back(make(), layout(shape, dtype))


def transposed_cases(full):
    """Yield transposed convolutions, whose bias is added where pixels have no weight, too."""
    for dtype in (SINGLE, DOUBLE):
        for channels in range(1, 71) if full else [1, 9, 17, 33]:
            for options in [(2, 2), (3, 2, 1, 1), (1, 3), (3, 1, 1)]:
                layer = nn.ConvTranspose2d(channels, channels, *options, rng=0, dtype=dtype)
                x = channels_last((2, channels, 4, 5), dtype)
                text = f"ConvTranspose2d {options} of {channels} channels, {np.dtype(dtype)}"
                yield text, there_and_back(layer, x)


def linear_cases(full):
    sizes = range(1, 71) if full else [1, 9, 33]
    for dtype in (SINGLE, DOUBLE):
        for n in sizes:
            for rows, features, outputs in ((3, n, 5), (n, 4, 5), (3, 4, n), (2, n, n)):
                layer = nn.Linear(features, outputs, rng=0, dtype=dtype)
                text = f"Linear of ({rows}, {features}) to {outputs}, {np.dtype(dtype)}"
                yield text, there_and_back(layer, filled((rows, features), dtype))


RECURRENT = [
    ("RNN", nn.RNN, {}),
    ("RNN relu", nn.RNN, {"nonlinearity": "relu"}),
    ("LSTM", nn.LSTM, {"num_layers": 2, "dropout": 0.5}),
    ("GRU", nn.GRU, {"bidirectional": True}),
]


def recurrent_cases(full):
    """Yield recurrent layers whose states end anywhere in a vector, and an embedding."""
    for dtype in (SINGLE, DOUBLE):
        for hidden in range(1, 71) if full else FEW:
            for name, kind, options in RECURRENT:
                layer = kind(3, hidden, **options, return_state=False, rng=0, dtype=dtype)
                text = f"{name} of {hidden}, {np.dtype(dtype)}"
                yield text, there_and_back(layer, filled((3, 2, 3), dtype))
                padded = there_and_back(layer, filled((3, 2, 3), dtype), lengths=[1, 2])
                yield f"{text}, padded", padded
            embedding = nn.Embedding(5, hidden, rng=0, dtype=dtype)
            numbers = np.arange(hidden) % 5
            yield f"Embedding of {hidden}, {np.dtype(dtype)}", there_and_back(embedding, numbers)


def networks(channels, dtype):
    """Yield small models, whose layers are fused where they can be."""
    conv = nn.Conv2d(3, channels, 3, padding=1, rng=0, dtype=dtype)
    second = nn.Conv2d(channels, channels, 3, padding=1, rng=1, dtype=dtype)
    norms = [bn.BatchNorm2d(channels) for _ in range(2)]
    head = [nn.Flatten(), nn.Linear(channels * 9, 2, rng=2, dtype=dtype)]
    yield nn.Sequential(conv, norms[0], nn.ReLU(), nn.MaxPool2d(2), *head)
    body = nn.Sequential(second, norms[1])
    yield nn.Sequential(conv, nn.LeakyReLU(), nn.Residual(body), nn.ReLU(), nn.MaxPool2d(2), *head)
    yield nn.Sequential(norms[0], nn.MaxPool2d(2), *head)


def network_cases(full):
    for dtype in (SINGLE, DOUBLE):
        for channels in range(1, 71) if full else [1, 17, 33]:
            for i, model in enumerate(networks(channels, dtype)):
                x = channels_last((2, channels if i == 2 else 3, 6, 7), dtype)
                name = f"network {i} of {channels} channels, {np.dtype(dtype)}"
                yield f"{name}, training", there_and_back(model, x)
                yield f"{name}, one sample", there_and_back(model, x[:1])
                predict = bn.compile(model.eval(), x.shape[1:])
                yield f"{name}, compiled", lambda p=predict, x=x: p(x)
                model.train()


GROUPS = [
    batch_norm_cases,
    sample_norm_cases,
    statistics_cases,
    elementwise_cases,
    loss_cases,
    optimizer_cases,
    convolution_cases,
    pooling_cases,
    transposed_cases,
    linear_cases,
    recurrent_cases,
    network_cases,
]


def cases(full):
    for group in GROUPS:
        yield from group(full)


# ---- the program ----


def note_calls():
    """Note which of the core's functions are not called."""
    for name, function in vars(bncore).copy().items():
        own = getattr(function, "__module__", None) == "bncore" and not isinstance(function, type)
        if own and not name.startswith("__") and name not in WITHOUT_KERNELS:
            missed[name] = function
            setattr(bncore, name, noted(name, function))


def noted(name, function):
    def call(*args, **options):
        missed.pop(name, None)
        return function(*args, **options)

    return call


def run_all(at_end, full):
    """Call all cases, with every array beside a guard page; print their names and their number."""
    memory = guarded_memory.GuardedMemory(at_end)
    conv_direct.FAST = True  # the kernels of "baseline" too, in whose place layers take BLAS
    bn.memory.set_limit(0)  # outputs come from NumPy's memory, which is guarded
    note_calls()
    memory.use()
    count = 0
    for name, call in cases(full):
        os.write(1, f"{name}\n".encode())
        call()
        count += 1
    os.write(1, f"{count} cases, not called: {', '.join(sorted(missed)) or 'none'}\n".encode())


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    code = 1
    try:
        with np.errstate(all="ignore"):
            run_all(sys.argv[1] == "end", sys.argv[2] == "full")
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)  # nothing is freed after Python's functions are gone
