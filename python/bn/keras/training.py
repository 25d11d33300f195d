"""`Trainer`: what models have of Keras's `compile`, `fit`, `evaluate` and `predict`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence, Sized
from typing import Any

from bn import _check, nn
from bn.inputs import Inputs, arrays_of, samples
from bn.keras import data, losses, metrics, optimizers, saving, weights_files
from bn.keras.bridge import Bridge, Moments, Objective, logs_of, several
from bn.keras.callbacks import Callback, History, ProgressLine, line_of
from bn.keras.layers.base import Layer
from bn.keras.summary import print_summary
from bn.nn.training.evaluating import measured
from bn.nn.training.loader import Samples
from bn.nn.training.metrics import Totals
from bn.nn.training.steps import Task, gradients_of
from bn.prediction import predict
from bn.types import Array

# Arguments of `compile` that do not change results, or of which there is the default only.
COMPILE = {"loss_weights": None, "weighted_metrics": None}
WITHOUT_EFFECT = ("run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss")


class Trainer(Layer):
    """A layer that can be trained; `Model` and `Sequential` are.

    Attributes
    ----------
    optimizer : Optimizer
    loss : Loss
    history : History
        Of the last `fit`.
    stop_training : bool
        A callback sets it to True to end the training after this epoch.
    """

    optimizer: optimizers.Optimizer
    loss: losses.Loss
    history: History

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.compiled = self.stop_training = False
        self.compiled_metrics: dict[str, metrics.Metric] = {}
        self.steps_done, self.seconds = 0, 0.0  # of the last epoch

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        return []

    # ---- compile ----

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: None = None,
        metrics: Any = None,
        weighted_metrics: None = None,
        **others: Any,
    ) -> None:
        """Choose how the model is trained.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str, Loss or class of losses
        loss_weights, weighted_metrics : None
            Of Keras.
        metrics : list of str or Metric, optional
            ``"accuracy"`` is the one that fits the shapes of outputs and targets.
        **others
            Further arguments of Keras that do not change results, such as `run_eagerly`.

        Raises
        ------
        TypeError, ValueError
            An argument stands for nothing that `bn.keras` has.

        References
        ----------
        keras.Model.compile.
        """
        given = {name: value for name, value in others.items() if name not in WITHOUT_EFFECT}
        given |= {"loss_weights": loss_weights, "weighted_metrics": weighted_metrics}
        _check.keras_arguments("compile", given, COMPILE)
        self.optimizer = optimizers.get(optimizer)
        self.loss = losses.get(loss)
        self.compiled_metrics = _metrics(metrics)
        self.compiled = True

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` returns."""
        return ["loss", *self.compiled_metrics]

    def task(self) -> Task:
        """What is trained and measured."""
        return Task(self, Objective(self.loss, self.weights), dict(self.compiled_metrics))

    # ---- fit ----

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Callback | Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> History:
        """Train the model, by `bn.nn.fit`.

        Parameters
        ----------
        x : array_like, list or dict of them, or iterable of batches (x, y) or (x, y, weights)
        y : array_like, optional
            Left out where x is an iterable.
        batch_size : int, optional
            32 by default.
        epochs : int
            The number of the last epoch, counted from 1.
        verbose : {"auto", 0, 1, 2}
            0 prints nothing, the others a line for each epoch.
        callbacks : Callback or list of them, optional
        validation_split : float
            The share of the samples, the last ones before they are shuffled, that are held out.
        validation_data : (x, y), (x, y, sample_weight) or iterable of batches, optional
            A list of pairs is one of batches; any other list is taken as a tuple.
        shuffle : bool
            Whether each epoch has an order of its own.
        class_weight : dict of int to float, optional
            The weights of the samples of each class in the loss.
        sample_weight : array_like, optional, shape (N,)
        initial_epoch : int
            How many epochs there were before.
        steps_per_epoch, validation_steps : int, optional
            How many batches of an iterable are one epoch, or are the validation.
        validation_batch_size : int, optional
            By default `batch_size`.
        validation_freq : {1}

        Returns
        -------
        History

        Raises
        ------
        RuntimeError
            `compile` was not called.
        TypeError, ValueError
            An argument is not as above, or a batch does not fit the model or the loss.
        FloatingPointError
            The loss is NaN or infinite.

        References
        ----------
        keras.Model.fit.
        """
        _check.keras_compiled(self.compiled, "fit")
        _check.keras_every_epoch(validation_freq)
        size = _batch_size(batch_size)
        weights = {"sample_weight": sample_weight, "class_weight": class_weight}
        source, held_out = self._training_data(x, y, size, shuffle, weights, validation_split)
        validation = self._validation(
            held_out if validation_data is None else validation_data,
            _batch_size(validation_batch_size, size), validation_steps,
        )  # fmt: skip
        history = History()
        shown = [] if verbose in (0, False) else [ProgressLine()]
        steps = len(source) if steps_per_epoch is None and isinstance(source, Sized) else None
        settings = {"epochs": epochs, "steps": steps_per_epoch or steps, "verbose": verbose}
        moments = Moments(self, [*shown, *several(callbacks), history], settings)
        bridge = Bridge(self, moments, initial_epoch, validation)
        self.history, self.stop_training = history, False
        moments.call("on_train_begin", {})
        if epochs > initial_epoch:
            batches = data.Batches(self, source, steps_per_epoch, bridge)
            self._train(batches, epochs - initial_epoch, bridge)
        moments.call("on_train_end", {})
        return history

    def _training_data(
        self, x: Any, y: Any, size: int, shuffle: bool, weights: dict[str, Any], share: float
    ) -> tuple[Any, Samples | None]:
        """The batches for training, and the samples that are held out of them."""
        if data.is_batches(x, y):
            _check.keras_no_y({**weights, "validation_split": share})
            _check.keras_built(self.name, self.built)
            return x, None
        whole = data.samples_of(self, x, y, **weights)
        self._build_for(whole.x)
        train, held_out = data.divided(whole, share)
        return data.loader_of(train, size, shuffle), held_out

    def _validation(self, given: Any, size: int, steps: int | None) -> Any:
        """The batches for validation; None for none."""
        if given is None:
            return None
        if isinstance(given, Samples):
            return data.Batches(self, data.loader_of(given, size, False), None)
        if data.is_one_set(given) or not data.is_batches(given, None):
            _check.keras_pair_of("validation_data", given)
            given = data.loader_of(data.samples_of(self, *given), size, False)
        return data.Batches(self, given, steps)

    def _train(self, batches: Any, epochs: int, bridge: Bridge) -> None:
        task = self.task()
        try:
            nn.fit(
                self, batches, epochs=epochs, criterion=task.criterion,
                optimizer=self.optimizer.bound_to(self.parameters()),
                metrics=[*self.compiled_metrics.values()], callbacks=[bridge], progress=False,
            )  # fmt: skip
        finally:
            self.eval()  # outside of a training, calls predict

    def _build_for(self, x: Inputs) -> None:
        """Make the weights, if they are not made yet."""
        if not self.built:
            self.build_for([array.shape[1:] for array in arrays_of(x)])

    # ---- evaluate, predict ----

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and the metrics, as if nothing trained.

        Parameters
        ----------
        x : array_like, list or dict of them, or iterable of batches
        y : array_like, optional
        batch_size : int, optional
            32 by default.
        verbose : {"auto", 0, 1, 2}
            0 prints nothing, the others a line.
        sample_weight : array_like, optional, shape (N,)
        steps : int, optional
            How many batches of an iterable.
        callbacks : Callback or list of them, optional
        return_dict : bool

        Returns
        -------
        list of float, or float, or dict
            The loss and the metrics, in the order of `metrics_names`; without metrics the loss.

        Raises
        ------
        RuntimeError
            `compile` was not called.
        TypeError, ValueError
            The data do not fit the model or the loss.

        References
        ----------
        keras.Model.evaluate.
        """
        _check.keras_compiled(self.compiled, "evaluate")
        begun = time.perf_counter()
        if data.is_batches(x, y):
            _check.keras_no_y({"sample_weight": sample_weight})
            source = x
        else:
            whole = data.samples_of(self, x, y, sample_weight)
            self._build_for(whole.x)
            source = data.loader_of(whole, _batch_size(batch_size), False)
        batches = (Samples(*batch) for batch in data.Batches(self, source, steps))
        moments = Moments(self, callbacks, {"epochs": 1, "steps": steps, "verbose": verbose})
        totals = moments.measured(self.task(), batches)
        logs = self._logs(totals)
        if verbose not in (0, False):
            number = -(-totals.samples // _batch_size(batch_size))
            seconds = time.perf_counter() - begun
            print(line_of(number, seconds, dict(sorted(logs.items()))))
        return self._returned(logs, return_dict)

    def _logs(self, totals: Totals) -> dict[str, float]:
        logs = logs_of(totals.means())
        return {name: logs[name] for name in self.metrics_names}

    def _returned(self, logs: dict[str, float], return_dict: bool) -> Any:
        _check.flag("return_dict", return_dict)
        if return_dict:
            return logs
        return [*logs.values()] if len(logs) > 1 else logs["loss"]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
    ) -> Array:
        """The outputs for many samples.

        Parameters
        ----------
        x : array_like, or list or dict of them
        batch_size : int, optional
            32 by default.
        verbose : object
            Taken, and not used.
        steps : None
            Of Keras.
        callbacks : Callback or list of them, optional

        Returns
        -------
        ndarray

        Raises
        ------
        TypeError, ValueError
            x does not fit the model.

        References
        ----------
        keras.Model.predict.
        """
        _check.keras_arguments("predict", {"steps": steps}, {"steps": None})
        inputs = data.inputs_of(self, x)
        self._build_for(inputs)
        settings = {"epochs": 1, "steps": None, "verbose": verbose}
        moments = Moments(self, callbacks, settings)
        return moments.predicted(self, inputs, _batch_size(batch_size))

    # ---- single batches ----

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Make one step, and return the loss and the metrics of the batch before it.

        Parameters
        ----------
        x, y : array_like
        sample_weight : array_like, optional, shape (N,)
        class_weight : dict of int to float, optional
        return_dict : bool

        Returns
        -------
        As `evaluate`.

        References
        ----------
        keras.Model.train_on_batch.
        """
        _check.keras_compiled(self.compiled, "train_on_batch")
        batch = data.samples_of(self, x, y, sample_weight, class_weight)
        self._build_for(batch.x)
        task, optimizer = self.task(), self.optimizer.bound_to(self.parameters())
        self.train()
        try:
            optimizer.zero_grad()
            step = gradients_of(self, task.criterion, 1)(task, [batch])
            optimizer.step()
        finally:
            self.eval()
        return self._returned(self._logs(step.totals), return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and the metrics of one batch.

        Parameters
        ----------
        x, y : array_like
        sample_weight : array_like, optional, shape (N,)
        return_dict : bool

        Returns
        -------
        As `evaluate`.

        References
        ----------
        keras.Model.test_on_batch.
        """
        _check.keras_compiled(self.compiled, "test_on_batch")
        batch = data.samples_of(self, x, y, sample_weight)
        self._build_for(batch.x)
        return self._returned(self._logs(measured(self.task(), [batch])), return_dict)

    def predict_on_batch(self, x: Any) -> Array:
        """The outputs for one batch.

        Parameters
        ----------
        x : array_like, or list or dict of them

        Returns
        -------
        ndarray

        References
        ----------
        keras.Model.predict_on_batch.
        """
        inputs = data.inputs_of(self, x)
        self._build_for(inputs)
        return predict(self, inputs, max(1, samples(inputs)))

    # ---- the table, files ----

    def summary(  # type: ignore[override]
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:
        """Print a table of the layers, as Keras does.

        Parameters
        ----------
        line_length : int, optional
            By default as much as the terminal has, and 88 or 108 at most.
        positions : sequence of float, optional
            Where columns end, as parts of the line.
        print_fn : callable, optional
            Gets the whole text.
        expand_nested : bool
            Also show the layers of models inside.
        show_trainable : bool
            Also show which layers are trainable.

        References
        ----------
        keras.Model.summary.
        """
        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights to a ``.weights.h5`` file, as Keras does.

        Parameters
        ----------
        filepath : path-like
        overwrite : bool
            Whether a file may be replaced.

        References
        ----------
        keras.Model.save_weights.
        """
        weights_files.save(self, filepath, overwrite)

    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Read the weights from a ``.weights.h5`` file, or raise and change nothing.

        Parameters
        ----------
        filepath : path-like

        Raises
        ------
        ValueError
            The file is damaged, or is one of another model.

        References
        ----------
        keras.Model.load_weights.
        """
        weights_files.load(self, filepath)

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the model to a ``.keras`` file, as Keras does.

        Parameters
        ----------
        filepath : path-like
        overwrite : bool
            Whether a file may be replaced.

        References
        ----------
        keras.Model.save.
        """
        saving.save_model(self, filepath, overwrite)


def _metrics(given: Any) -> dict[str, metrics.Metric]:
    """The metrics by their names."""
    if given is None:
        return {}
    _check.keras_metrics(given)
    found = [metrics.get(each) for each in given]
    return {metric.name: metric for metric in found}


def _batch_size(given: int | None, otherwise: int = 32) -> int:
    if given is None:
        return otherwise
    _check.positive_int("batch_size", given)
    return given
