"""Channels may share statistics and parameters: instance and group normalization need no copies."""

import numpy as np
import pytest

import bncore

EPS = 1e-5
N, C, GROUPS, SPACE = 3, 6, 2, (7, 9)


@pytest.fixture
def images(rng):
    x, dy = rng.standard_normal((2, N, C, *SPACE)) * 2 + 1
    weight, bias = rng.standard_normal((2, C))
    return x, dy, weight, bias


def channels_of_samples(x):
    return x.reshape(1, N * C, -1)


def standardized(x, axes):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + EPS)


def test_samples_share_the_parameters_of_an_instance_normalization(images):
    x, dy, weight, bias = images
    w, b = weight[:, None, None], bias[:, None, None]
    y, count, mean, m2 = bncore.forward(channels_of_samples(x), 1, weight, bias, EPS)
    x_hat = standardized(x, (2, 3))
    np.testing.assert_allclose(y.reshape(x.shape), x_hat * w + b, rtol=1e-12, atol=1e-12)

    dx, sum_g, _ = bncore.backward(
        channels_of_samples(dy),
        channels_of_samples(x),
        1,
        mean,
        m2 / count,
        weight,
        bias,
        EPS,
        count,
    )
    g, rstd = dy * w, 1 / np.sqrt(x.var((2, 3), keepdims=True) + EPS)
    means = (a.mean((2, 3), keepdims=True) for a in (g, g * x_hat))
    expected = rstd * (g - next(means) - x_hat * next(means))
    np.testing.assert_allclose(dx.reshape(x.shape), expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(sum_g.reshape(N, C), dy.sum((2, 3)), rtol=1e-12)


def test_adjoining_channels_share_a_statistic_in_group_normalization(images):
    x, _, weight, bias = images
    groups = x.reshape(N, GROUPS, -1)
    mean, var = groups.mean(2).ravel(), groups.var(2).ravel()
    y = bncore.normalize(channels_of_samples(x), 1, mean, var, weight, bias, EPS)
    expected = standardized(groups, 2).reshape(x.shape) * weight[:, None, None]
    expected += bias[:, None, None]
    np.testing.assert_allclose(y.reshape(x.shape), expected, rtol=1e-12, atol=1e-12)
