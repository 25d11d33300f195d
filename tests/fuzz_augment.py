"""The fuzz's table of `bn.nn.augment`, each entry with its answer in float64."""

import copy

import numpy as np
from fuzz_arrays import BAD_NUMBERS, FINITE, HUGE
from fuzz_law import Case, close, entries, wide
from fuzz_nn import BAD_IMAGES, images

from bn.nn import augment

TABLE = {}
fuzzed = entries(TABLE)
BAD_RNG = [None, 0, 1.5, "1", np.ones(2), np.random.RandomState(0)]
BAD_PAIR = [-1, 1.5, "1", True, np.ones(2), 1j, (1, 2, 3), (1, 0.5), None, {}, HUGE]


def augmented(draw, step, check, **bad):
    """Return the case of a call on images, or on images with their channels last."""
    last = draw.pick([True, False])
    step.axis = -1 if last else 1
    x = images(draw, draw.pick([1, 2, 3, 7]), 4, FINITE)
    given = x.transpose(0, 2, 3, 1) if last else x
    y = draw.rng.integers(0, 5, len(x))
    rng = np.random.default_rng(draw.pick(range(100)))
    again = copy.deepcopy(rng)

    def checked(found):
        y_images, target = found
        assert y_images.dtype == x.dtype
        first = y_images.transpose(0, 3, 1, 2) if last else y_images
        check(x, y, first, target, again)

    composed = augment.Compose([step])
    call = draw.pick([step, composed])
    case = Case(call, {"x": given, "y": y, "rng": rng}, checked)
    case.said = (type(step).__name__, "num_classes")
    return case.spoil(draw, x=BAD_IMAGES, rng=BAD_RNG, **bad)


@fuzzed("augment.RandomFlip", "augment.Augmentation")
def flipped_images(draw):
    p = draw.pick([0, 0.3, 1])

    def check(x, y, found, target, rng):
        which = (rng.random(len(x)) < p)[:, None, None, None]
        np.testing.assert_array_equal(found, np.where(which, x[..., ::-1], x))
        assert target is y

    return augmented(draw, augment.RandomFlip(p), check)


@fuzzed("augment.RandomCrop")
def cropped_images(draw):
    padding, mode = (draw.pick([0, 1, 3]), draw.pick([0, 2])), draw.pick(["zeros", "reflect"])

    def check(x, y, found, target, rng):
        places = [rng.integers(0, 2 * most + 1, len(x)) for most in padding]
        sides = [(0, 0), (0, 0), *((most, most) for most in padding)]
        padded = np.pad(x, sides, mode="constant" if mode == "zeros" else mode)
        (h, w), places = x.shape[2:], zip(*places, strict=True)
        expected = [a[:, i : i + h, j : j + w] for a, (i, j) in zip(padded, places, strict=True)]
        np.testing.assert_array_equal(found, np.array(expected))

    return augmented(draw, augment.RandomCrop(padding, mode), check)


@fuzzed("augment.Normalize")
def normalized_images(draw):
    mean, std = draw.pick([0, -1.5, [2]]), draw.pick([1, 0.3, [7]])

    def check(x, y, found, target, rng):
        expected = (wide(x) - mean) / std
        size = (np.abs(wide(x)) + np.abs(mean)) / std
        close(found, expected, size, "normalized", 4)

    return augmented(draw, augment.Normalize(mean, std), check)


@fuzzed("augment.Cutout")
def cut_images(draw):
    size = draw.pick([1, 2, 5, 30]), draw.pick([1, 3])

    def check(x, y, found, target, rng):
        expected = np.array(x)
        starts = [
            rng.integers(0, n, len(x)) - s // 2 for n, s in zip(x.shape[2:], size, strict=True)
        ]
        for image, i, j in zip(expected, *starts, strict=True):
            image[:, max(0, i) : i + size[0], max(0, j) : j + size[1]] = 0
        np.testing.assert_array_equal(found, expected)

    return augmented(draw, augment.Cutout(size), check)


@fuzzed("augment.Mixup", "augment.Compose")
def mixed_images(draw):
    alpha = draw.pick([0.1, 1.0, 5])

    def check(x, y, found, target, rng):
        share, other = rng.beta(alpha, alpha), rng.permutation(len(x))
        expected = share * wide(x) + (1 - share) * wide(x)[other]
        close(found, expected, np.abs(wide(x)) + np.abs(wide(x)[other]), "mixed")
        classes = np.eye(5)[y]
        close(target, share * classes + (1 - share) * classes[other], np.ones((len(x), 5)), "y")

    bad_y = [None, "text", 1j, lambda y: y + 5, lambda y: y[:0], lambda y: y * 0.5]
    return augmented(draw, augment.Mixup(alpha, 5), check, y=bad_y)


OPTIONS = {
    "RandomFlip": ({"p": 0.5}, {"p": [*BAD_NUMBERS, -0.1, 1.5, None], "axis": [0, 2, None, "1"]}),
    "RandomCrop": ({"padding": 1}, {"padding": BAD_PAIR, "padding_mode": ["edge", None, 3]}),
    "Cutout": ({"size": 2}, {"size": [0, *BAD_PAIR], "axis": [0, 2, None, "1"]}),
    "Normalize": (
        {"mean": [0, 1], "std": 2},
        {
            "mean": [np.nan, [np.inf], 1j, "text", [], np.ones((2, 2)), HUGE],
            "std": [0, [1, -1], np.nan, 1j, None, [], 1e-300],
        },
    ),
    "Mixup": (
        {"alpha": 0.2, "num_classes": 3},
        {"alpha": [0, -1, *BAD_NUMBERS, None], "num_classes": [0, -1, 1.5, "1", True, HUGE]},
    ),
    "Compose": ({"transforms": []}, {"transforms": [None, 3, [3], "text"]}),
}


@fuzzed("options of augmentations")
def options_of_augmentations(draw):
    name = draw.pick(sorted(OPTIONS))
    good, bad = OPTIONS[name]
    make = getattr(augment, name)
    case = Case(make, dict(good), lambda found: None)
    return case.spoil(draw, **bad)
