"""`adapt`: normalization that fits new data, without labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from bn import _check
from bn.inputs import arrays_of, call_with
from bn.layers.batch_norm import BatchNorm, batch_norms
from bn.module import Module, copy_all, unchanged
from bn.parameter import Parameter
from bn.tools.recalibration import recalibrate
from bn.types import Array

Model = TypeVar("Model", bound=Module)
METHODS = ("recalibrate", "tent")


def adapt(
    model: Model,
    batches: Iterable[Any],
    *,
    prior: float = 0.0,
    method: str = "recalibrate",
    lr: float = 1e-3,
) -> Model:
    r"""Fit the batch normalizations of a trained model to new data, which need no labels.

    Data that were taken in another way (noise, blur, another camera) have other statistics than
    those of the training. ``method="recalibrate"`` puts the new ones in their place, or a weighted
    mean of both: with N = `prior` and n new samples

    .. math:: μ = \frac{N μ_{source} + n μ_{new}}{N + n}, \qquad
              σ^2 = \frac{N σ^2_{source} + n σ^2_{new}}{N + n}.

    ``method="tent"`` first trains weight and bias of the batch normalizations, in one pass of Adam
    over the batches, so that the predictions get more certain. What falls is the mean of their
    entropy :math:`-\sum_c p_c \log p_c`, with p the softmax of the model's outputs.

    Parameters
    ----------
    model : Module
        A trained model with batch normalizations. For "tent" its outputs are scores before the
        softmax, shape (N, C).
    batches : iterable of ndarray, or of tuple or list
        Inputs x of the model, or (x, ...), of which the rest is ignored. "tent" reads it twice.
    prior : float, default 0.0
        How many samples the statistics of the training stand for, at least 0. The fewer new samples
        there are, the more it helps.
    method : {"recalibrate", "tent"}
        What changes: running statistics, or weight and bias as well.
    lr : float, default 1e-3
        The learning rate of "tent".

    Returns
    -------
    Module
        `model`, to be used in evaluation mode.

    Raises
    ------
    ValueError
        The model has no batch normalization, there is no batch, `prior`, `method` or `lr` is not as
        above, an output is not finite, or what `recalibrate` finds.
    TypeError
        An argument is not as above; `batches` of "tent" can be read only once.

    Notes
    -----
    Modes, gradients and all that is not said above stay as they are. After an error nothing has
    changed. `copy.deepcopy` keeps a model as it was.

    References
    ----------
    Schneider et al., "Improving robustness against common corruptions by covariate shift
    adaptation", 2020, equation 2, whose N is `prior`. Wang et al., "Tent: Fully test-time
    adaptation by entropy minimization", 2021.

    Examples
    --------
    >>> from bn import BatchNorm1d, nn
    >>> model = nn.Sequential(BatchNorm1d(1)).eval()  # running mean 0 and variance 1
    >>> new = [np.array([[1.0], [2.0], [3.0]])]
    >>> adapt(model, new, prior=1)[0].running_mean
    array([1.5], dtype=float32)
    """
    _check.instance("model", model, Module)
    _check.batch_source(batches)
    _check.at_least("prior", prior, 0)
    _check.one_of("method", method, METHODS)
    _check.at_least("lr", lr, 0)
    layers = [layer for _, layer in batch_norms(model)]
    _check.any_batch_norm("adapt", type(model).__name__, len(layers))
    counted = _Counted(batches)
    source = _statistics(layers)
    with _put_back_after_an_error(layers):
        if method == "tent":
            _check.read_again("batches", batches)
            _train(model, layers, batches, lr)
        recalibrate(model, counted)
        share = prior / (prior + counted.samples)
        copy_all([(array, share * old + (1 - share) * array) for array, old in source if share > 0])
    return model


class _Counted:
    """Batches whose samples are counted, each when the model has had it."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches, self.samples = batches, 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            yield batch
            self.samples += len(arrays_of(_check.batch_input(batch))[0])


def _statistics(layers: list[BatchNorm]) -> list[tuple[Array, Array]]:
    """(array, copy) of running statistics."""
    arrays = [a for layer in layers for a in (layer.running_mean, layer.running_var)]
    return [(array, array.copy()) for array in arrays if array is not None]


def _affine(layers: list[BatchNorm]) -> list[Parameter]:
    """The weights and biases that train, each once."""
    parameters = (p for layer in layers for _, p in layer.own_parameters())
    return [p for p in dict.fromkeys(parameters) if p.trainable]


@contextmanager
def _put_back_after_an_error(layers: list[BatchNorm]) -> Iterator[None]:
    before = _statistics(layers)
    before += [(p.data, p.data.copy()) for p in _affine(layers)]
    try:
        yield
    except BaseException:
        copy_all(before)
        raise


# ---- tent ----


@contextmanager
def _only_trained(model: Module, parameters: list[Parameter]) -> Iterator[None]:
    """Let these parameters alone have gradients, and put all of them back at the end."""
    chosen = set(parameters)
    before = [(p, p.trainable, p.grad) for _, p in model.named_parameters()]
    try:
        for parameter, _, _ in before:
            parameter.trainable, parameter.grad = parameter in chosen, None
        yield
    finally:
        for parameter, trainable, grad in before:
            parameter.trainable, parameter.grad = trainable, grad


def _train(model: Module, layers: list[BatchNorm], batches: Iterable[Any], lr: float) -> None:
    """One pass of Adam over weights and biases, with the statistics of each batch."""
    from bn import nn

    parameters = _affine(layers)
    _check.some_affine(len(parameters))
    with unchanged(model), _only_trained(model, parameters):
        model.eval()
        for layer in layers:
            layer.use_batch_stats, layer.update_stats, layer.train_affine = True, False, True
        optimizer = nn.Adam(parameters, lr)
        for batch in batches:
            scores = call_with(model, _check.batch_input(batch))
            _check.scores(scores)
            optimizer.zero_grad()
            model.backward(_entropy_gradient(scores), input_grad=False)
            optimizer.step()


def _entropy_gradient(scores: Array) -> Array:
    """The gradient of the mean entropy of the softmax of scores (N, C)."""
    log_p = scores - scores.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    entropy = -(p * log_p).sum(axis=1, keepdims=True)
    gradient: Array = -p * (log_p + entropy) / len(scores)
    return gradient
