"""The fuzz's table of options: of layers, losses, optimizers and schedules, and of their tools.

What makes something of good options must take them; a bad one it refuses by name.
"""

import numpy as np
from fuzz_arrays import BAD_EPS, BAD_FLAG, BAD_NUMBERS, HUGE
from fuzz_law import Case, entries

import bn
from bn import nn

TABLE = {}
fuzzed = entries(TABLE)
LARGER = [2**63, 10**30, HUGE]  # than any size
BAD_COUNT = [0, -1, 1.5, "1", True, np.ones(3), 1j, *LARGER]
BAD_PAIR = [*BAD_COUNT, (1, 2, 3), (1, 0.5), (1, HUGE), None, {}]
BAD_LENGTH = [*BAD_COUNT, (1, 2), (0.5,), None, {}]
BAD_SHARE = [*BAD_NUMBERS, -0.1, 1.5, None]
BAD_POSITIVE = [*BAD_NUMBERS, -0.1, None]
BAD_WEIGHT = [-1, [1, -0.5], np.nan, [np.inf], 1j, "text", np.ma.masked_array([1.0], True)]
BAD_REDUCTION = ["average", None, 3, np.ones(2), ["mean"]]
BAD_RNG = [-1, 1.5, "1", True, np.ones(2), 1j]
BAD_DTYPE = [np.int64, np.float16, complex, object, "M8[s]"]
BAD_MODULE = [3, "a", np.ones(2), [1], {"a": 1}]
X = np.ones((2, 2, 6, 6), np.float32)


def parameter():
    p = nn.Parameter(np.ones(2))
    p.grad = np.ones(2)
    return p


def stepped(kind):
    def make(**options):
        optimizer = kind([parameter()], **options)
        optimizer.step()
        return optimizer

    return make


def scheduled(kind):
    def make(**options):
        schedule = kind(nn.SGD([parameter()], lr=0.1), **options)
        schedule.step()
        return schedule

    return make


def on_images(kind):
    return lambda **options: kind(**options)(X)


def on_signals(kind):
    return lambda **options: kind(**options)(X[:, :, 0])


# For each thing what makes it and uses it, its good options, and for each of them what is bad.
OPTIONS = {
    "Conv2d": (
        on_images(nn.Conv2d),
        {"in_channels": 2, "out_channels": 4, "kernel_size": (2, 1), "stride": 2, "padding": 1},
        {
            "in_channels": BAD_COUNT, "out_channels": BAD_COUNT, "kernel_size": BAD_PAIR,
            "stride": BAD_PAIR, "padding": ["what", -1, 0.5, 1j, HUGE, np.ones(2)],
            "dilation": BAD_PAIR, "groups": [3, *BAD_COUNT], "rng": BAD_RNG, "dtype": BAD_DTYPE,
            "axis": [0, 2, 1.0, None, "1", np.ones(2)], "bias": BAD_FLAG,
        },
    ),
    "MaxPool2d": (
        on_images(nn.MaxPool2d),
        {"kernel_size": 2, "stride": 1, "padding": 1},
        {"kernel_size": BAD_PAIR, "stride": BAD_PAIR[:-2], "padding": [-1, 2, 0.5, HUGE, "1"]},
    ),
    "AvgPool2d": (
        on_images(nn.AvgPool2d),
        {"kernel_size": 2, "stride": None, "padding": 0},
        {
            "kernel_size": BAD_PAIR, "stride": BAD_PAIR[:-2], "padding": [-1, 2, 0.5, HUGE, "1"],
            "count_include_pad": BAD_FLAG,
        },
    ),
    "AdaptiveAvgPool2d": (
        on_images(nn.AdaptiveAvgPool2d),
        {"output_size": 1},
        {"output_size": [bad for bad in BAD_PAIR if bad is not None]},
    ),
    "ConvTranspose2d": (
        on_images(nn.ConvTranspose2d),
        {"in_channels": 2, "out_channels": 4, "kernel_size": (2, 1), "stride": 2, "padding": 1},
        {
            "in_channels": BAD_COUNT, "out_channels": BAD_COUNT, "kernel_size": BAD_PAIR,
            "stride": BAD_PAIR, "padding": ["same", -1, 0.5, 1j, HUGE, np.ones(2)],
            "output_padding": [2, -1, 0.5, "1", None, HUGE], "dilation": BAD_PAIR,
            "groups": [3, *BAD_COUNT], "rng": BAD_RNG, "dtype": BAD_DTYPE,
        },
    ),
    "Conv1d": (
        on_signals(nn.Conv1d),
        {"in_channels": 2, "out_channels": 4, "kernel_size": 2, "stride": 2, "padding": 1},
        {
            "in_channels": BAD_COUNT, "out_channels": BAD_COUNT, "kernel_size": BAD_LENGTH,
            "stride": BAD_LENGTH, "padding": ["what", -1, 0.5, 1j, HUGE, np.ones(2)],
            "dilation": BAD_LENGTH, "groups": [3, *BAD_COUNT], "rng": BAD_RNG, "dtype": BAD_DTYPE,
            "axis": [0, 2, 1.0, None, "1", np.ones(2)],
        },
    ),
    "MaxPool1d": (
        on_signals(nn.MaxPool1d),
        {"kernel_size": 2, "stride": 1, "padding": 1},
        {
            "kernel_size": BAD_LENGTH, "stride": BAD_LENGTH[:-2],
            "padding": [-1, 2, 0.5, HUGE, "1"], "ceil_mode": BAD_FLAG,
        },
    ),
    "AvgPool1d": (
        on_signals(nn.AvgPool1d),
        {"kernel_size": 2, "stride": None, "padding": 0},
        {
            "kernel_size": BAD_LENGTH, "stride": BAD_LENGTH[:-2],
            "padding": [-1, 2, 0.5, HUGE, "1"], "ceil_mode": BAD_FLAG,
        },
    ),
    "Upsample": (
        on_images(nn.Upsample),
        {"size": (3, 9), "mode": "bilinear", "align_corners": True},
        {
            "size": [bad for bad in BAD_PAIR if bad is not None],
            "scale_factor": [2, *BAD_NUMBERS, 0, -1, (1, 2, 3)],
            "mode": ["what", None, 3, np.ones(2)], "align_corners": BAD_FLAG,
        },
    ),
    "ZeroPad2d": (
        on_images(nn.ZeroPad2d),
        {"padding": (0, 1, 2, 3)},
        {"padding": [0.5, "1", None, (1, 2), (1, 2, 3, 0.5), np.ones(4), *LARGER]},
    ),
    "Dropout2d": (
        on_images(nn.Dropout2d), {"p": 0.5}, {"p": BAD_SHARE, "rng": BAD_RNG, "axis": [0, 2, None]}
    ),
    "Linear": (
        on_images(nn.Linear),
        {"in_features": 6, "out_features": 3, "dtype": np.float64},
        {
            "in_features": BAD_COUNT, "out_features": BAD_COUNT, "rng": BAD_RNG,
            "dtype": BAD_DTYPE, "bias": BAD_FLAG,
        },
    ),
    "Dropout": (on_images(nn.Dropout), {"p": 0.5}, {"p": BAD_SHARE, "rng": BAD_RNG}),
    "LeakyReLU": (
        on_images(nn.LeakyReLU), {"negative_slope": 0.1}, {"negative_slope": [*BAD_NUMBERS, None]}
    ),
    "GELU": (
        on_images(nn.GELU), {"approximate": "tanh"}, {"approximate": ["erf", None, 3, np.ones(2)]}
    ),
    "ELU": (on_images(nn.ELU), {"alpha": 0.5}, {"alpha": [*BAD_NUMBERS, None]}),
    "Softplus": (
        on_images(nn.Softplus),
        {"beta": 2, "threshold": 1.5},
        {"beta": [0, *BAD_POSITIVE], "threshold": [*BAD_NUMBERS, None]},
    ),
    "PReLU": (
        on_images(nn.PReLU),
        {"num_parameters": 2, "init": 0.1, "axis": 1, "dtype": np.float64},
        {
            "num_parameters": [3, *BAD_COUNT], "init": [*BAD_NUMBERS, None], "dtype": BAD_DTYPE,
            "axis": [9, -9, 1.0, "1", *LARGER],
        },
    ),
    "LogSoftmax": (on_images(nn.LogSoftmax), {"axis": 1}, {"axis": [9, -9, 1.0, "1", *LARGER]}),
    "Softmax": (on_images(nn.Softmax), {"axis": 1}, {"axis": [9, -9, 1.0, "1", *LARGER]}),
    "CrossEntropyLoss": (
        nn.CrossEntropyLoss,
        {"label_smoothing": 0.1, "weight": [1, 2], "ignore_index": 0, "reduction": "sum"},
        {
            "label_smoothing": BAD_SHARE, "weight": BAD_WEIGHT, "reduction": BAD_REDUCTION,
            "ignore_index": [1.0, "1", None, True, np.ones(2)], "from_logits": BAD_FLAG,
        },
    ),
    "BCEWithLogitsLoss": (
        nn.BCEWithLogitsLoss,
        {"weight": 2, "pos_weight": [1, 2], "reduction": "none"},
        {"weight": BAD_WEIGHT, "pos_weight": BAD_WEIGHT, "reduction": BAD_REDUCTION},
    ),
    "MSELoss": (nn.MSELoss, {"reduction": "sum"}, {"reduction": BAD_REDUCTION}),
    "L1Loss": (nn.L1Loss, {"reduction": "sum"}, {"reduction": BAD_REDUCTION}),
    "SmoothL1Loss": (
        nn.SmoothL1Loss,
        {"reduction": "none", "beta": 0.5},
        {"reduction": BAD_REDUCTION, "beta": BAD_POSITIVE},
    ),
    "SGD": (
        stepped(nn.SGD),
        {"lr": 0.1, "momentum": 0.9},
        {
            "lr": BAD_POSITIVE, "momentum": BAD_POSITIVE, "dampening": [*BAD_NUMBERS, None],
            "weight_decay": BAD_POSITIVE, "nesterov": BAD_FLAG,
        },
    ),
    "Adam": (
        stepped(nn.Adam),
        {"lr": 0.1, "betas": (0.9, 0.99)},
        {"lr": BAD_POSITIVE, "betas": [0.9, (1, 1), (0.9, HUGE), "ab", None], "eps": BAD_EPS},
    ),
    "RMSprop": (
        stepped(nn.RMSprop),
        {"lr": 0.1, "alpha": 0.9, "momentum": 0.5},
        {
            "lr": BAD_POSITIVE, "alpha": BAD_SHARE, "eps": BAD_EPS, "momentum": BAD_POSITIVE,
            "weight_decay": BAD_POSITIVE, "centered": BAD_FLAG,
        },
    ),
    "LinearLR": (
        scheduled(nn.LinearLR),
        {"start_factor": 0.1, "total_iters": 3},
        {"start_factor": [*BAD_SHARE, 0], "end_factor": BAD_SHARE, "total_iters": BAD_COUNT},
    ),
    "OneCycleLR": (
        scheduled(nn.OneCycleLR),
        {"max_lr": 1.0, "epochs": 3, "steps_per_epoch": 4},
        {
            "max_lr": [np.nan, np.inf, "1", 1j, HUGE, np.ones(2), None, -1, [1.0, 2.0]],
            "epochs": BAD_COUNT, "steps_per_epoch": BAD_COUNT, "pct_start": BAD_SHARE,
            "anneal_strategy": ["sin", None, 3], "base_momentum": BAD_SHARE,
            "max_momentum": BAD_SHARE, "div_factor": [*BAD_POSITIVE, 0],
            "final_div_factor": [*BAD_POSITIVE, 0], "cycle_momentum": BAD_FLAG,
            "three_phase": BAD_FLAG,
        },
    ),
    "ReduceLROnPlateau": (
        lambda **options: nn.ReduceLROnPlateau(nn.SGD([parameter()], lr=0.1), **options),
        {"factor": 0.5, "patience": 3},
        {
            "mode": ["low", None, 3], "factor": [*BAD_SHARE, 1], "patience": [-1, 1.5, "1", None],
            "threshold": BAD_POSITIVE, "threshold_mode": ["what", None], "cooldown": [-1, 0.5],
            "min_lr": [np.nan, "1", None, -1, [1.0, 2.0]], "eps": BAD_EPS,
        },
    ),
    "StepLR": (
        scheduled(nn.StepLR),
        {"step_size": 2, "gamma": 0.5},
        {"step_size": BAD_COUNT, "gamma": BAD_POSITIVE},
    ),
    "CosineAnnealingLR": (
        scheduled(nn.CosineAnnealingLR),
        {"T_max": 7, "eta_min": 0.01},
        {"T_max": BAD_COUNT, "eta_min": BAD_POSITIVE},
    ),
    "fused": (nn.fused, {"mode": True}, {"mode": [1, 0, None, "yes", np.ones(2)]}),
    "winograd": (nn.winograd, {"mode": True}, {"mode": [1, 0, None, "yes", np.ones(2)]}),
    "Sequential": (
        lambda layers: nn.Sequential(*layers), {"layers": [nn.ReLU()]}, {"layers": BAD_MODULE[1:]}
    ),
    "ModuleList": (nn.ModuleList, {"layers": [nn.ReLU()]}, {"layers": [None, *BAD_MODULE]}),
    "ModuleDict": (nn.ModuleDict, {"layers": {"a": nn.ReLU()}}, {"layers": BAD_MODULE}),
    "Residual": (
        nn.Residual, {"body": nn.ReLU()}, {"body": [None, *BAD_MODULE], "shortcut": BAD_MODULE}
    ),
    "GhostBatchNorm": (
        bn.GhostBatchNorm,
        {"layer": bn.BatchNorm1d(2), "virtual_batch_size": 2},
        {"layer": [None, *BAD_MODULE, nn.ReLU()], "virtual_batch_size": BAD_COUNT},
    ),
    "FeatureAxes": (
        bn.FeatureAxes,
        {"layer": bn.BatchNormalization(), "axes": (1, -1)},
        {"layer": [None, *BAD_MODULE, nn.ReLU()], "axes": [1.5, "1", None, (1, 0.5), np.ones(2)]},
    ),
    "preset": (
        bn.preset,
        {"framework": "keras", "num_features": 3},
        {
            "framework": ["what", None, 3, np.ones(2), ["torch"]], "num_features": BAD_COUNT,
            "momentum": BAD_SHARE[:-1], "eps": BAD_EPS[:7], "start": ["what", None, np.ones(2)],
        },
    ),
    "compile": (
        bn.compile,
        {"model": nn.Sequential(nn.Linear(2, 2)).eval(), "input_shape": (2,)},
        {"model": [None, *BAD_MODULE], "input_shape": [3, "ab", np.ones(2), (-1,), (1.5,)]},
    ),
    "fold": (
        bn.fold,
        {"model": nn.Sequential(nn.Linear(2, 2)).eval(), "input_shape": [2]},
        {"model": [None, *BAD_MODULE], "input_shape": [3, "ab", np.ones(2), (-1,), (1.5,)]},
    ),
    "freeze": (
        bn.freeze,
        {"model": nn.Sequential(bn.BatchNorm1d(2))},
        {"model": [None, *BAD_MODULE], "use_batch_stats": ["yes", 3, np.ones(2)]},
    ),
    "concatenate": (
        nn.concatenate,
        {"values": [X, X], "axis": 1},
        {
            "values": [None, 3, [X, np.ma.masked_array(X, True)]],
            "axis": [9, -9, 1.0, None, "1", *LARGER],
        },
    ),
}  # fmt: skip
SAID = {
    "Sequential": ("layer",), "ModuleList": ("layer",), "ModuleDict": ("layer",),
    "Residual": ("body",), "concatenate": ("value",), "FeatureAxes": ("axis",),
    "Softmax": ("Softmax",), "compile": ("dimensions",), "fold": ("dimensions",),
}  # fmt: skip


@fuzzed("options")
def options(draw):
    name = draw.pick(sorted(OPTIONS))
    make, good, bad = OPTIONS[name]
    case = Case(make, dict(good), lambda found: None, said=SAID.get(name, ()))
    return case.spoil(draw, **bad)
