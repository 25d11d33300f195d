"""Arrays of other libraries are taken wherever arrays are, and results are NumPy's."""

import foreign
import numpy as np
import pytest

import bn
from bn import _check, nn
from bn.arrays import numpy_argument

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((20, 4))
IMAGES = RNG.standard_normal((4, 3, 6, 6)).astype(np.float32)
ONES, ZEROS = np.ones(4), np.zeros(4)
KINDS = [foreign.ByDLPack, foreign.ByNumPy]
with_kinds = pytest.mark.parametrize("of", KINDS)

# Calls by name: a function of what makes an argument foreign (or leaves it).
FUNCTIONS = {
    "stats": lambda f: bn.stats(f(ROWS)).mean,
    "weights of stats": lambda f: bn.stats(ROWS, weights=f(np.ones((20, 1)))).mean,
    "normalize": lambda f: bn.normalize(f(ROWS), f(ZEROS), f(ONES), f(2 * ONES), f(ONES)),
    "vectors of normalize": lambda f: bn.normalize(ROWS, ZEROS, f(ONES), None, f(ONES)),
    "residual": lambda f: bn.normalize(ROWS, ZEROS, ONES, residual=f(ROWS), activation="relu"),
    "normalize_batch": lambda f: bn.normalize_batch(f(ROWS), f(ONES))[0],
    "backward_reduce": lambda f: bn.backward_reduce(f(ROWS), f(ROWS), f(ZEROS)).dy_xmu,
    "dy of backward_reduce": lambda f: bn.backward_reduce(f(ROWS), ROWS, ZEROS).dy_xmu,
    "backward_apply": lambda f: bn.backward_apply(f(ROWS), f(ROWS), f(ZEROS), f(ONES)),
    "backward_batch": lambda f: bn.backward_batch(f(ROWS), ROWS, bn.stats(ROWS), f(ONES))[0],
    "batch_norm": lambda f: bn.batch_norm(f(ROWS), f(ZEROS), f(ONES), f(ONES)),
    "layer_norm": lambda f: bn.layer_norm(f(ROWS), 4, f(ONES)),
    "rms_norm": lambda f: bn.rms_norm(f(ROWS), 4),
    "group_norm": lambda f: bn.group_norm(f(ROWS), 2),
    "instance_norm": lambda f: bn.instance_norm(f(IMAGES)),
    "double_backward": lambda f: bn.batch_norm_double_backward(
        f(ROWS), None, None, f(ROWS), f(ROWS), f(ZEROS), f(ONES)
    )[0],
    "position_weights": lambda f: bn.position_weights(f(ROWS), sample_weight=f(np.ones(20))),
    "fold_arrays": lambda f: bn.fold_arrays(f(np.ones((4, 2))), None, f(ZEROS), f(ONES))[0],
    "onnx": lambda f: bn.onnx.BatchNormalization(
        f(ROWS), f(ONES), f(ZEROS), f(ZEROS), f(ONES)
    ),
    "stats_of an array": lambda f: bn.stats_of(f(ROWS)).mean,
    "stats_of parts": lambda f: bn.stats_of([f(ROWS), f(ROWS)]).mean,
    "merged Stats": lambda f: bn.merge([bn.Stats(f(ONES), f(ONES), f(ONES))]).mean,
}  # fmt: skip


def same(values):
    return values


@with_kinds
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gives_the_bits_of_numpys_arrays_as_an_array_of_numpy(name, of):
    call = FUNCTIONS[name]
    found = call(of)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, call(same))


LAYERS = {
    "BatchNorm2d": lambda: bn.BatchNorm2d(3),
    "BatchNormalization": lambda: bn.BatchNormalization(axis=1),
    "GroupNorm": lambda: bn.GroupNorm(3, 3),
    "FeatureAxes": lambda: bn.FeatureAxes(bn.BatchNormalization(), (1, 3)),
    "Conv2d": lambda: nn.Conv2d(3, 2, 3, rng=0),
    "Linear": lambda: nn.Linear(6, 2, rng=0),
    "ReLU": nn.ReLU,
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "Sequential": lambda: nn.Sequential(nn.Conv2d(3, 2, 3, rng=0), bn.BatchNorm2d(2), nn.ReLU()),
}  # fmt: skip


@with_kinds
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_trains_on_them_to_the_same_bits(name, of):
    one, other = LAYERS[name](), LAYERS[name]()
    y, expected = one(of(IMAGES)), other(IMAGES)
    dx, expected_dx = one.backward(of(y)), other.backward(expected)
    for found, right in ((y, expected), (dx, expected_dx)):
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, right)
    for (path, found), (_, right) in zip(one.named_state(), other.named_state(), strict=True):
        np.testing.assert_array_equal(found, right, err_msg=path)


@with_kinds
def test_a_layer_of_ones_own_gets_an_array_of_numpy(of):
    class Doubled(nn.Module):
        def forward(self, x):
            assert type(x) is np.ndarray
            self.keep(x, x)
            return 2 * x

        def backward(self, dy):
            self.take(dy)
            return 2 * dy

    layer = Doubled()
    np.testing.assert_array_equal(layer(of(ROWS)), 2 * ROWS)
    np.testing.assert_array_equal(layer.backward(of(ROWS)), 2 * ROWS)


@with_kinds
def test_arguments_after_the_first_are_taken_too(of):
    class Sum(nn.Module):
        def forward(self, a, b):
            return a + b

    np.testing.assert_array_equal(Sum()(ROWS, of(ROWS)), 2 * ROWS)
    sequences, state = np.ones((3, 2, 4), np.float32), np.ones((1, 2, 5), np.float32)
    layer = nn.GRU(4, 5, rng=0)
    np.testing.assert_array_equal(layer(sequences, of(state))[0], layer(sequences, state)[0])
    norm, other = bn.BatchNorm1d(4), bn.BatchNorm1d(4)
    mask = np.arange(20) % 2 == 0
    np.testing.assert_array_equal(norm(of(ROWS), mask=of(mask)), other(ROWS, mask=mask))


@with_kinds
@pytest.mark.parametrize("loss", [nn.MSELoss, nn.L1Loss, nn.BCEWithLogitsLoss])
def test_losses_take_them(loss, of):
    target = np.abs(np.tanh(ROWS))
    one, other = loss(), loss()
    assert one(of(ROWS), of(target), sample_weight=of(np.ones(20))) == other(ROWS, target)
    np.testing.assert_array_equal(one.backward(of(np.float64(2.0))), other.backward(2.0))


@with_kinds
def test_a_classifier_is_trained_evaluated_and_asked_with_them(of):
    x, y = ROWS.astype(np.float32), (ROWS[:, 0] > 0).astype(np.int64)
    models = [nn.Sequential(nn.Linear(4, 2, rng=0)) for _ in range(2)]
    for model, f in zip(models, (of, same), strict=True):
        history = nn.fit(
            model, (f(x), f(y)), validation=(f(x), f(y)), epochs=2, rng=0, progress=False
        )
        assert history["loss"][1] < history["loss"][0]
    one, other = models
    np.testing.assert_array_equal(one[0].weight.data, other[0].weight.data)
    assert nn.evaluate(one, of(x), of(y)) == nn.evaluate(other, x, y)
    np.testing.assert_array_equal(one.predict(of(x)), other.predict(x))
    batches = [[of(x[:10]), of(y[:10])], [of(x[10:]), of(y[10:])]]
    assert len(nn.fit(one, batches, epochs=1, progress=False)) == 1


@with_kinds
def test_models_are_looked_at_with_them(of):
    model = nn.Sequential(bn.BatchNorm1d(4, dtype=np.float64))
    expected = bn.recalibrate(model, [ROWS])[0].running_mean.copy()
    np.testing.assert_array_equal(bn.recalibrate(model, [of(ROWS)])[0].running_mean, expected)
    assert str(bn.report(model, of(ROWS))) == str(bn.report(model, ROWS))
    compiled = bn.compile(model.eval())
    np.testing.assert_array_equal(compiled(of(ROWS)), compiled(ROWS))
    nn.gradcheck(nn.Tanh(), of(ROWS))
    with pytest.raises(TypeError, match="batches must be an iterable of batches, got one array"):
        bn.recalibrate(model, of(ROWS))


@with_kinds
def test_a_large_batch_in_chunks_takes_them(of):
    one, other = (bn.accumulate(bn.BatchNorm1d(4)) for _ in range(2))
    for whole, f in ((one, of), (other, same)):
        whole.add(f(ROWS[:8]))
        whole.add(f(ROWS[8:]))
    np.testing.assert_array_equal(one.normalize(of(ROWS)), other.normalize(ROWS))
    one.reduce(of(ROWS), of(ROWS))
    other.reduce(ROWS, ROWS)
    np.testing.assert_array_equal(one.apply(of(ROWS), of(ROWS)), other.apply(ROWS, ROWS))


@with_kinds
def test_images_are_augmented_from_them(of):
    flip = nn.augment.Compose([nn.augment.RandomFlip()])
    found = flip(of(IMAGES), np.arange(4), np.random.default_rng(0))[0]
    np.testing.assert_array_equal(found, flip(IMAGES, np.arange(4), np.random.default_rng(0))[0])


@with_kinds
def test_states_and_parameters_are_loaded_from_them(of):
    layer, other = nn.Linear(4, 2, rng=0), nn.Linear(4, 2, rng=1)
    other.load_state_dict({name: of(array) for name, array in layer.state_dict().items()})
    np.testing.assert_array_equal(other.weight.data, layer.weight.data)
    other.set_weights([of(np.zeros((2, 4), np.float32)), of(np.ones(2, np.float32))])
    assert not other.weight.data.any()
    np.testing.assert_array_equal(nn.Parameter(of(ROWS)).data, ROWS)


# ---- memory ----


@with_kinds
def test_values_are_read_where_they_are_and_never_written(of):
    found = numpy_argument("x", of(ROWS))
    assert np.shares_memory(found, ROWS) and not found.flags.writeable
    assert ROWS.flags.writeable  # the owner's array stays as it was


def test_a_memory_mapped_array_is_normalized_without_being_copied(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    layer, other = bn.BatchNorm2d(3), bn.BatchNorm2d(3)
    y = layer(x)
    assert type(y) is np.ndarray and layer._kept[2][0].x is x
    np.testing.assert_array_equal(y, other(IMAGES))
    assert type(bn.normalize_batch(x)[0]) is np.ndarray
    np.testing.assert_array_equal(layer.backward(x), other.backward(IMAGES))
    np.testing.assert_array_equal(bn.stats(x).m2, bn.stats(IMAGES).m2)


@with_kinds
def test_what_gets_a_result_must_be_an_array_of_numpy(of):
    for call in (
        lambda: bn.normalize(ROWS, ZEROS, ONES, out=of(ROWS)),
        lambda: bn.normalize(of(ROWS), ZEROS, ONES, out=of(ROWS)),
        lambda: bn.backward_apply(ROWS, ROWS, ZEROS, ONES, out=of(ROWS)),
    ):
        with pytest.raises(TypeError, match="out must be a numpy array, got By"):
            call()
    with pytest.raises(TypeError, match="running_mean must be a numpy array"):
        bn.commit(bn.stats(ROWS), of(ZEROS), of(ONES))
    assert not ZEROS.any()


# ---- what is refused ----

ENTRANCES = {
    "stats": bn.stats,
    "ReLU": nn.ReLU(),
    "BatchNorm1d": bn.BatchNorm1d(4),
    "MSELoss": lambda x: nn.MSELoss()(x, ROWS),
    "Parameter": nn.Parameter,
}


@pytest.mark.parametrize("name", ENTRANCES)
@pytest.mark.parametrize(
    ("of", "words"),
    [
        (foreign.OnDevice, "must be on the CPU, got OnDevice on cuda:0"),
        (foreign.WithGradient, r"must not require a gradient, .* give its detach\(\)"),
    ],
    ids=["device", "gradient"],
)
def test_one_sentence_says_why_values_cannot_be_read(name, of, words):
    with pytest.raises(TypeError, match=words):
        ENTRANCES[name](of(ROWS))


@pytest.mark.parametrize("x", [[[1.0]], 1.0, np.float64(1), "a", None], ids=repr)
def test_lists_and_numbers_are_errors_as_before(x):
    for call in (bn.stats, bn.normalize_batch, nn.ReLU(), bn.BatchNorm1d(4)):
        with pytest.raises(TypeError, match="must be a numpy array, got"):
            call(x)


def test_a_mask_is_not_lost():
    x = np.ma.masked_array(ROWS, ROWS > 0)
    for call in (bn.stats, nn.ReLU(), bn.BatchNorm1d(4), nn.Parameter):
        with pytest.raises(TypeError, match="MaskedArray"):
            call(x)


def test_an_error_inside_of_a_call_is_not_hidden_by_a_second_call():
    calls = []

    class Failing(nn.Module):
        def forward(self, x):
            calls.append(x)
            raise TypeError("of its own")

        def backward(self, dy):
            return dy

    with pytest.raises(TypeError, match="of its own"):
        Failing()(foreign.ByNumPy(ROWS))
    assert len(calls) == 1


def test_bns_own_objects_and_numpys_scalars_are_no_arrays_of_other_libraries():
    assert not any(map(_check.is_foreign, (nn.Parameter(ONES), np.float64(1), ROWS, ONES[0], list)))


@with_kinds
@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_running_statistics_that_are_updated_must_be_numpys(name, of):
    words = f"^{name} must be a NumPy array, since it is updated, got {of.__name__} "
    vectors = {"running_mean": np.zeros(3), "running_var": np.ones(3)}
    vectors[name] = of(vectors[name])
    with pytest.raises(TypeError, match=words):
        bn.batch_norm(IMAGES.astype("f8"), **vectors, training=True)
    with pytest.raises(TypeError, match=words):
        bn.instance_norm(IMAGES.astype("f8"), **vectors)


def test_a_masked_array_is_told_how_its_mask_is_filled():
    masked = np.ma.masked_array(ROWS, ROWS > 0)
    for call in (bn.stats, bn.normalize_batch, bn.BatchNorm1d(4)):
        with pytest.raises(TypeError, match=r"must have no mask, got a MaskedArray \(see its"):
            call(masked)
