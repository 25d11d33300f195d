"""What beside the frameworks came out as wrong at the layers' edges, once each."""

import numpy as np
import pytest

import bn

X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "ranks"),
    [(bn.BatchNorm1d, "2D or 3D"), (bn.BatchNorm2d, "4D"), (bn.BatchNorm3d, "5D")],
)
def test_pytorchs_sentence_for_a_wrong_rank_holds_below_two_axes(kind, ranks):
    for shape in ((), (3,)):
        with pytest.raises(ValueError, match=rf"expected {ranks} input \(got {len(shape)}D input"):
            kind(3)(np.ones(shape, np.float32))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropped", ["running_mean", "running_var"])
def test_half_of_the_running_statistics_is_refused(dropped, training):
    layer = bn.BatchNorm1d(3).train(training)
    setattr(layer, dropped, None)
    with pytest.raises(ValueError, match="must either both be None or neither be None"):
        layer(X)
    assert layer.num_batches_tracked == 0


def test_kerass_mask_lacks_the_last_axis_wherever_the_channels_are():
    x, mask = X[:12].reshape(3, 4, 3).astype("f8"), np.arange(12).reshape(3, 4) % 3 > 0
    for axis in (0, 1, 2):
        layer = bn.BatchNormalization(axis=axis, momentum=0, dtype="f8")
        layer(x, mask=mask)
        values = [np.moveaxis(x, axis, 0)[c][_of(mask, axis, c)] for c in range(x.shape[axis])]
        np.testing.assert_allclose(layer.moving_mean, [v.mean() for v in values], rtol=1e-12)
        np.testing.assert_allclose(layer.moving_variance, [v.var() for v in values], rtol=1e-12)
    with pytest.raises(ValueError, match=r"mask must be an array of 2 axes that broadcasts to"):
        bn.BatchNormalization(axis=1)(x, mask=np.ones((3, 3), bool))


def _of(mask, axis, channel):
    """The mask of a channel: without the channels' axis, if it has one."""
    return mask if axis == mask.ndim else np.take(mask, channel, axis)


def test_a_bound_of_renorm_that_is_none_is_no_bound():
    clipping = {"rmin": None, "rmax": 0.5, "dmax": None}
    ours, plain = (
        bn.BatchNormalization(renorm=True, renorm_clipping=c) for c in (clipping, {"rmax": 0.5})
    )
    np.testing.assert_array_equal(ours(X), plain(X))


def test_without_a_count_the_statistics_follow_all_the_same():
    layer, counted = bn.BatchNorm1d(3), bn.BatchNorm1d(3)
    layer.num_batches_tracked = None
    layer(X)
    counted(X)
    np.testing.assert_array_equal(layer.running_var, counted.running_var)
