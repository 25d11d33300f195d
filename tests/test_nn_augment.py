"""Augmentation: what each does to a batch, that a seed decides all of it, and what is refused."""

import copy
import pickle

import layouts
import numpy as np
import pytest

import bn
from bn import nn
from bn.nn import augment

N, C, H, W = SHAPE = (40, 3, 6, 7)
EACH = {
    "flip": augment.RandomFlip(),
    "crop": augment.RandomCrop((2, 1)),
    "reflected crop": augment.RandomCrop(2, "reflect"),
    "normalize": augment.Normalize([1, 2, 3], 0.5),
    "cutout": augment.Cutout((3, 2)),
    "mixup": augment.Mixup(0.4, 10),
}
EACH["all"] = augment.Compose(list(EACH.values()))
with_each = pytest.mark.parametrize("name", EACH)


def batch(dtype=np.float64, shape=SHAPE):
    """Return images of which no two values are equal, and their classes."""
    x = 1 + np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    return x, np.arange(len(x)) % 10


def images(step, x=None, seed=0):
    given, y = batch()
    return step(given if x is None else x, y, np.random.default_rng(seed))[0]


def with_axis(step, axis):
    """Return a copy for images whose channels are on this axis."""
    step = copy.deepcopy(step)
    for one in (step, *getattr(step, "transforms", ())):
        one.axis = axis
    return step


# ---- what each does ----


def test_each_image_is_turned_or_left_as_it_is():
    x = batch()[0]
    y = images(augment.RandomFlip(0.3), x)
    turned = (y == x[..., ::-1]).all((1, 2, 3))
    assert (turned | (y == x).all((1, 2, 3))).all()
    assert 4 <= turned.sum() <= 20


@pytest.mark.parametrize("p", [0, 1])
def test_a_probability_of_0_or_1_turns_no_image_or_all(p):
    x = batch()[0]
    np.testing.assert_array_equal(images(augment.RandomFlip(p), x), x[..., ::-1] if p else x)


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_crops_are_those_of_the_padded_image_and_every_place_occurs(mode):
    x = np.repeat(batch()[0][:1], 400, axis=0)
    how = {"mode": "constant"} if mode == "zeros" else {"mode": mode}
    padded = np.pad(x[0], ((0, 0), (2, 2), (1, 1)), **how)
    crops = [padded[:, i : i + H, j : j + W] for i in range(5) for j in range(3)]
    y = images(augment.RandomCrop((2, 1), mode), x)
    places = [[(image == crop).all() for crop in crops].index(True) for image in y]
    assert np.bincount(places, minlength=15).min() >= 10  # 27 are expected


def test_normalize_takes_the_mean_and_divides_by_the_deviation():
    x = batch()[0]
    mean, std = np.array([1.0, 2, 3]), np.array([0.5, 2, 4])
    expected = (x - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(images(augment.Normalize(mean, std)), expected, rtol=1e-14)
    np.testing.assert_allclose(images(augment.Normalize(1, 0.5)), (x - 1) / 0.5, rtol=1e-14)


def test_a_square_becomes_zero_and_its_middle_may_be_any_pixel():
    x = np.ones((1000, 2, 5, 6))
    y = images(augment.Cutout(3), x)
    assert (y[:, 0] == y[:, 1]).all()
    seen = {image.tobytes() for image in y[:, 0]}
    possible = set()
    for i in range(5):
        for j in range(6):
            square = np.ones((5, 6))
            square[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = 0
            possible.add(square.tobytes())
    assert seen == possible


def test_images_and_targets_are_mixed_with_the_same_shares():
    x, y = batch()
    mixed, target = augment.Mixup(1.0, 10)(x, y, np.random.default_rng(3))
    np.testing.assert_allclose(target.sum(1), 1)
    # The first value of image i is 1 + 126 i, so that a mixture tells the other image.
    other = np.random.default_rng(3)
    share, places = other.beta(1.0, 1.0), other.permutation(N)
    np.testing.assert_allclose(mixed, share * x + (1 - share) * x[places])
    np.testing.assert_allclose(target, share * np.eye(10)[y] + (1 - share) * np.eye(10)[y[places]])


def test_probabilities_are_mixed_as_class_indices_are():
    x, y = batch(np.float32)
    one = augment.Mixup(0.4, 10)(x, y, np.random.default_rng(0))
    other = augment.Mixup(0.4)(x, np.eye(10)[y], np.random.default_rng(0))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype == np.float32


def test_the_loss_takes_mixed_targets_and_is_the_mixture_of_two_losses():
    x, y = batch()
    _, target = augment.Mixup(1.0, 10)(x, y, np.random.default_rng(0))
    logits, criterion = np.random.default_rng(1).standard_normal((N, 10)), nn.CrossEntropyLoss()
    generator = np.random.default_rng(0)
    share, places = generator.beta(1.0, 1.0), generator.permutation(N)
    expected = share * criterion(logits, y) + (1 - share) * criterion(logits, y[places])
    assert criterion(logits, target) == pytest.approx(expected)


def test_compose_calls_one_after_the_other():
    x, y = batch()
    steps = [EACH["crop"], EACH["flip"], EACH["mixup"]]
    found = augment.Compose(steps)(x, y, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    for step in steps:
        x, y = step(x, y, rng)
    np.testing.assert_array_equal(found[0], x)
    np.testing.assert_array_equal(found[1], y)


def test_augmented_batches_train_a_model():
    rng = np.random.default_rng(0)
    x, y = rng.random((64, 3, 8, 8), np.float32), np.arange(64) % 2
    x[y == 1] += 0.5
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, rng=0), bn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 2, rng=1),
    )  # fmt: skip
    change = augment.Compose([augment.RandomCrop(1), augment.RandomFlip(), augment.Mixup(0.2, 2)])
    criterion, optimizer, losses = nn.CrossEntropyLoss(), nn.SGD(model.parameters(), 0.1), []
    for _ in range(30):
        images, target = change(x, y, rng)
        losses.append(criterion(model(images), target))
        optimizer.zero_grad()
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


# ---- what holds for all of them ----


@with_each
def test_the_generators_state_decides_all_that_is_random(name):
    (x, y), rng = batch(np.float32), np.random.default_rng(5)
    EACH[name](x, y, rng)
    state = pickle.loads(pickle.dumps(rng.bit_generator.state))
    here = EACH[name](x, y, rng)
    resumed = np.random.default_rng()
    resumed.bit_generator.state = state
    there = copy.deepcopy(EACH[name])(x, y, resumed)
    for a, b in zip(here, there, strict=True):
        assert a.tobytes() == b.tobytes()
    assert rng.bit_generator.state == resumed.bit_generator.state


@with_each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_are_new_and_have_the_dtype_and_order_of_x(name, dtype):
    x, y = batch(dtype)
    expected = images(EACH[name], x)
    assert not np.may_share_memory(expected, x)
    for layout in (layouts.channels_last_memory, layouts.fortran, layouts.cropped):
        given = layout(x)
        before = given.copy()
        found = EACH[name](given, y, np.random.default_rng(0))[0]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(given, before)
        order = np.empty_like(given)  # NumPy's way to keep the order of axes
        assert found.dtype == dtype and found.strides == order.strides, layout.__name__


@with_each
def test_channels_may_be_the_last_axis(name):
    x, _ = batch()
    found = images(with_axis(EACH[name], -1), np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), images(EACH[name], x))
    assert found.flags.c_contiguous


@with_each
def test_any_number_of_threads_gives_the_same_bits(name):
    x, _ = batch(np.float32, (500, 3, 16, 17))
    y = np.arange(500) % 10
    with bn.threads(1):
        one = EACH[name](x, y, np.random.default_rng(0))[0]
    with bn.threads(3):
        three = EACH[name](x, y, np.random.default_rng(0))[0]
    assert one.tobytes() == three.tobytes()


@with_each
def test_a_batch_may_be_empty(name):
    x, y = batch()
    found, _ = EACH[name](x[:0], y[:0], np.random.default_rng(0))
    assert found.shape == (0, *SHAPE[1:])


def test_targets_of_any_kind_pass_where_images_alone_change():
    x, y = batch()[0], {"boxes": [1, 2]}
    for name in set(EACH) - {"mixup", "all"}:
        assert EACH[name](x, y, np.random.default_rng(0))[1] is y


def test_reprs_show_how_to_make_them():
    for step in (*EACH.values(), augment.RandomFlip(0.25, axis=-1)):
        assert repr(eval(repr(step), vars(augment))) == repr(step)


# ---- what is refused ----

X, Y = batch()
RNG = np.random.default_rng(0)
REFUSED = [
    (lambda: augment.RandomFlip(1.5), "p must be between 0 and 1, got 1.5"),
    (lambda: augment.RandomFlip(axis=2), "axis must be 1"),
    (lambda: augment.RandomCrop(-1), "padding must be an integer >= 0 or a pair"),
    (lambda: augment.RandomCrop(1, "edge"), "padding_mode must be one of 'zeros', 'reflect'"),
    (lambda: augment.RandomCrop(6, "reflect")(X, Y, RNG), r"RandomCrop takes images of at least"),
    (lambda: augment.Cutout(0), "size must be an integer >= 1"),
    (lambda: augment.Cutout(2)(X[:, :, :0], Y, RNG), "Cutout takes images of at least"),
    (lambda: augment.Normalize(np.nan, 1), "mean must be finite, got nan"),
    (lambda: augment.Normalize([[1]], 1), "mean must be a number or one for each channel"),
    (lambda: augment.Normalize("a", 1), "mean must hold numbers"),
    (lambda: augment.Normalize(0, [1, 0]), r"std must be above 0, got \[1, 0\]"),
    (lambda: augment.Normalize([0, 1], 1)(X, Y, RNG), "mean must have one number or 3"),
    (lambda: augment.Normalize(0, 1e-200), "std must be between 1e-150 and 1e150"),
    (lambda: augment.Mixup(0), "alpha must be a finite number above 0, got 0"),
    (lambda: augment.Mixup(1, 0), "num_classes must be a positive integer, got 0"),
    (lambda: augment.Mixup()(X, Y, RNG), "num_classes must be given where y holds class indices"),
    (lambda: augment.Mixup(1, 9)(X, Y, RNG), "y must be between 0 and 8, got 9"),
    (lambda: augment.Mixup(1, 9)(X, Y[:-1], RNG), "y must have 40 targets, .* got 39"),
    (lambda: augment.Mixup(1, 9)(X, Y * 1.0, RNG), "y must hold integers .* got float64"),
    (lambda: augment.Mixup(1, 9)(X, "text", RNG), "y must be class indices"),
    (lambda: augment.Compose(3), "transforms must be an iterable"),
    (lambda: augment.Compose([3]), "transforms must be callable, got int"),
    (
        lambda: augment.Compose([lambda x, y, rng: x])(X, Y, RNG),
        r"must return the tuple \(x, y\), got ndarray",
    ),
]  # fmt: skip


@pytest.mark.parametrize("call, message", REFUSED, ids=[m for _, m in REFUSED])
def test_what_is_wrong_is_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@with_each
def test_bad_images_and_generators_are_refused(name):
    for bad in (X[0], X.astype(int), X.astype(np.float16), X.tolist(), None):
        with pytest.raises((TypeError, ValueError), match=r"images|x of"):
            EACH[name](bad, Y, RNG)
    for bad in (0, None, np.random.RandomState(0), "seed"):
        with pytest.raises(TypeError, match=f"rng must be a numpy Generator, got {bad!r}"[:40]):
            EACH[name](X, Y, bad)


@pytest.mark.parametrize("augment", [nn.augment.RandomFlip(), nn.augment.RandomCrop(1)])
def test_targets_with_pixels_are_refused_where_they_would_have_to_move(augment):
    x, rng = np.ones((2, 3, 4, 4)), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"moves pixels of x and not of y.* got shape \(2, 4, 4\)"):
        augment(x, np.zeros((2, 4, 4), int), rng)
    y = nn.augment.Normalize(0.5, 0.5)(x, np.zeros((2, 4, 4), int), rng)[1]
    assert y.shape == (2, 4, 4)
