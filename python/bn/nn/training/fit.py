"""`fit`: trains a model, with defaults for everything but the model and the data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bn import _check
from bn.distributed.team import Team, team_of
from bn.inputs import Inputs, call_with, taken
from bn.module import Module
from bn.nn.cross_entropy import CrossEntropyLoss
from bn.nn.init import Rng, generator
from bn.nn.one_cycle import OneCycleLR
from bn.nn.optim import Adam
from bn.nn.optimizer import Optimizer
from bn.nn.training.callbacks import Callback
from bn.nn.training.history import History
from bn.nn.training.loader import Batch, BatchLoader, Samples, Shard
from bn.nn.training.loop import Loop, Setting
from bn.nn.training.metrics import Metrics, named
from bn.nn.training.ranks import ManyRanks, OneRank
from bn.prediction import evaluating
from bn.types import Shape

Data = Batch | Iterable[Batch]
SCHEDULES = ("epoch", "batch")


def fit(
    model: Module,
    train: Data,
    *,
    validation: Data | None = None,
    epochs: int = 10,
    criterion: Any = None,
    optimizer: Optimizer | None = None,
    schedule: Any = None,
    metrics: Metrics = ("accuracy",),
    batch_size: int = 32,
    callbacks: Sequence[Callback] = (),
    rng: Rng = None,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    accumulate: int = 1,
    clip: float | None = None,
    schedule_every: str = "epoch",
    save_every: int | None = None,
    comm: Any = None,
    timeout: float = 60.0,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Module
        It is in training mode afterwards.
    train : (x, y), (x, y, sample_weight), or iterable of these
        All samples and targets, or an iterable of batches, such as a `BatchLoader`, which is
        iterated once for each epoch. x is an array, or for a model that takes several a tuple
        or a dict of arrays, as in `BatchLoader`.
    validation : as train, optional
        On which the loss and the metrics are measured after each epoch, in eval mode.
    epochs : int
        The number of epochs, those before a resumption included.
    criterion : callable, optional
        A loss; by default `CrossEntropyLoss()`, because most models of this package are classifiers
        that return logits. Of a batch whose targets it all ignores no step is made.
    optimizer : Optimizer, optional
        By default `Adam`, because its usual learning rate fits most models, while one for `SGD` has
        to be found for each.
    schedule : Schedule, optional
        Of this optimizer. A `step` that needs an argument gets the loss of the validation, or
        without that the one of the training.
    metrics : tuple of str or callable
        As in `evaluate`.
    batch_size : int
        For pairs (x, y).
    callbacks : sequence of Callback
    rng : int, Generator or None
        For the order of the samples of a pair (x, y).
    progress : bool
        Whether to show a bar in a terminal (with rich, of the extra `demo`), and one line for each
        epoch elsewhere.
    checkpoint : path-like, optional
        A file for all that the training needs to go on, as `save_training` writes it: at the
        beginning, after each epoch, and after the batch during which Ctrl-C is pressed.
    resume : bool
        Whether to go on with the training in `checkpoint`, if there is that file. Without it, a
        file that exists is an error.
    accumulate : int
        The number of batches whose gradients make one step, which is that of one large batch:
        batch normalizations take the statistics of all its parts together. See the notes.
    clip : float, optional
        The largest norm of all gradients together; see `clip_grad_norm`.
    schedule_every : {"epoch", "batch"}
        After what the schedule makes a step; ``"batch"`` counts steps of the optimizer.
    save_every : int, optional
        Save also after each so many steps.
    comm : mpi4py communicator or bn.distributed.Communicator, optional
        Train together with the other ranks, each on its part of every batch: see the notes.
    timeout : float
        How many seconds to wait for other ranks.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        An argument is not as above, or a batch does not fit the model or the loss. Errors of a
        batch name its epoch and number.
    FloatingPointError
        A loss is NaN or infinite. The message names the step, and the first layer whose output is
        not finite. Parameters and running statistics are those before this step.
    FileExistsError
        `checkpoint` exists, and `resume` is false.
    OSError
        A file cannot be written; what was there before stays.
    KeyboardInterrupt
        Ctrl-C was pressed. The first time, it waits for the end of the batch.
    SyncError
        Another rank has failed, does something else, or does not answer.

    See Also
    --------
    evaluate : The loss and the metrics alone.
    bn.Module.predict : The outputs for many samples.

    Notes
    -----
    A training that was stopped, at whatever batch and by whatever, and is resumed, ends with the
    same bits as one that was not: parameters, running statistics, optimizer, schedule, order of
    the samples, dropout, augmentation, callbacks and history but for the times. A killed training
    repeats what came after its last save. An iterable of one's own must be a sequence, or have
    `state_dict` and `load_state_dict`.

    What decides the bits must be as it was at the beginning, or it is an error: the size of the
    batches, `accumulate`, `clip`, `schedule_every`, the metrics, the criterion, the classes of the
    callbacks and what they monitor, and the options that optimizer and schedule were made with,
    such as the learning rate. To go on with another rate, read the model alone by
    ``load_training(checkpoint, model)``, and begin a new training with it.

    With `accumulate`, a model without batch normalization needs the memory of one part only. One
    with it needs the memory of the whole batch, since each normalization needs the statistics of
    all parts before any of them can go on. Layers whose results would differ from those of the
    large batch are refused: batch renormalization, ghost batches, regularizers of batch
    normalization, running statistics of instance normalization. Dropout draws for each part.

    With `comm`, all ranks call `fit` with the same arguments; settings that differ are an error on
    all of them. The model, the order of the samples
    and the seeds are those of rank 0. A batch of `batch_size` samples is divided among the ranks,
    and makes the step that it would make in one process: statistics, loss, metrics and gradients
    are those of all parts together, and every rank ends with the same bits. An iterable of one's
    own must give each rank its own parts, as many on each. Rank 0 shows the progress, writes the
    file (which all ranks must be able to read to go on) and calls callbacks that write files
    (`Callback.writes`). Any number of ranks can go on with the file. The number of ranks changes
    the last digits, and what dropout and augmentation draw. Normalizations that `bn.synchronize`
    has prepared keep their communicator, which may be that of a group: see `DataParallel`.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> x = np.random.default_rng(0).standard_normal((64, 2))
    >>> y = (x[:, 0] > x[:, 1]).astype(int)
    >>> model = nn.Sequential(nn.Linear(2, 2, rng=0, dtype=np.float64))
    >>> history = fit(model, (x, y), epochs=20, rng=0, progress=False,
    ...               optimizer=nn.SGD(model.parameters(), lr=0.5))
    >>> len(history), history["accuracy"][-1] > 0.9
    (20, True)
    """
    _check.instance("model", model, Module)
    _check.training_data("train", train)
    _check.positive_int("epochs", epochs)
    _check.positive_int("batch_size", batch_size)
    _check.positive_int("accumulate", accumulate)
    _check.optional_positive_int("save_every", save_every)
    _check.flag("progress", progress)
    _check.flag("resume", resume)
    _check.one_of("schedule_every", schedule_every, SCHEDULES)
    if clip is not None:
        _check.above("clip", clip, 0)
    criterion = CrossEntropyLoss() if criterion is None else criterion
    _check.function("criterion", criterion)
    _check.callbacks(callbacks, Callback)
    with team_of(comm, timeout) as team:
        rank, size = (0, 1) if team is None else (team.rank, team.size)
        _check_files(checkpoint, resume, save_every, rank)
        batches = _train_batches(train, batch_size, rng, (rank, size))
        if checkpoint is not None:
            _check.resumable("train", batches)
        first = _first_inputs(batches)
        shape = None if first is None else _shape(first)
        _build(model, first)
        held_out = _validation_batches(validation, shape, batch_size, (rank, size))
        _check_classes(model, criterion, shape, {"train": batches, "validation": held_out})
        optimizer = Adam(model.parameters()) if optimizer is None else optimizer
        _check.instance("optimizer", optimizer, Optimizer)
        _check.optimizer_of(optimizer, model)
        _check_schedule(schedule, optimizer, epochs, schedule_every)
        functions = named(metrics, criterion)
        _check_monitored(callbacks, validation is not None, list(functions))
        ranks = _ranks(team, model, batches, criterion, accumulate)
        loop = Loop(
            Setting(
                model, batches, held_out, epochs, criterion, optimizer, schedule, schedule_every,
                functions, tuple(callbacks), progress, checkpoint, save_every, accumulate, clip,
                ranks,
            )
        )  # fmt: skip
        loop.begin(resume)
        return loop.run()


def _ranks(
    team: Team | None, model: Module, batches: Any, criterion: Any, accumulate: int
) -> OneRank | ManyRanks:
    if team is None:
        return OneRank(model, criterion, accumulate)
    _check.one_part(accumulate)
    _check.takes_share(criterion)
    ranks = ManyRanks(team, model)
    if isinstance(batches, BatchLoader):
        ranks.share_order(batches)
    return ranks


def _check_files(checkpoint: Any, resume: bool, save_every: int | None, rank: int) -> None:
    if resume:
        _check.needs_checkpoint("resume", checkpoint)
    if save_every is not None:
        _check.needs_checkpoint("save_every", checkpoint)
    if checkpoint is not None and rank == 0:
        _check.folder_exists("checkpoint", checkpoint)
    if checkpoint is not None and not resume and rank == 0:  # the others may see rank 0's new file
        _check.no_other_training(checkpoint)


def _train_batches(train: Data, batch_size: int, rng: Rng, shard: Shard) -> Iterable[Batch]:
    if _check.is_samples(train):
        return _loader(train, batch_size, shard, rng=rng)
    _check.no_loader_rng(rng)
    return _sharded(train, shard)


def _loader(
    data: Any, batch_size: int, shard: Shard, *, shuffle: bool = True, rng: Rng = None
) -> BatchLoader:
    """The batches of (x, y) or (x, y, sample_weight)."""
    samples = Samples(*data)
    return BatchLoader(
        samples.x, samples.y, batch_size,
        sample_weight=samples.weight, shuffle=shuffle, shard=shard, rng=generator(rng),
    )  # fmt: skip


def _sharded(batches: Any, shard: Shard) -> Iterable[Batch]:
    """A loader of whole batches as one of this rank's parts; other iterables have these already."""
    if isinstance(batches, BatchLoader) and batches.shard == (0, 1) != shard:
        return batches.sharded(*shard)
    found: Iterable[Batch] = batches
    return found


def _validation_batches(
    validation: Data | None, shape: Shape | None, batch_size: int, shard: Shard
) -> Iterable[Batch] | None:
    if validation is None:
        return None
    _check.training_data("validation", validation)
    if not _check.is_samples(validation):
        return _sharded(validation, shard)
    loader = _loader(validation, batch_size, shard, shuffle=False)
    if shape is not None:
        _check.sample_shape("validation", _shape(loader.x), shape)
    return loader


def _first_inputs(batches: Iterable[Batch]) -> Inputs | None:
    """Inputs of the model, where some are known before the first batch."""
    if isinstance(batches, BatchLoader):
        return batches.x
    if isinstance(batches, (list, tuple)) and batches:
        return Samples.checked(batches[0]).x
    return None


def _build(model: Module, x: Inputs | None) -> None:
    """Let layers that learn the number of their inputs do so, before their parameters are used."""
    if x is None or all(layer.built for layer in model.modules()):
        return
    shape = _shape(x)
    if shape is not None:
        model.build(shape)
        return
    with evaluating(model):
        call_with(model, taken(x, slice(0, 1)))


def _shape(x: Inputs) -> Shape | None:
    """The shape of a sample of one array; None of several."""
    return None if isinstance(x, (tuple, Mapping)) else x.shape[1:]


def _check_classes(
    model: Module, criterion: Any, shape: Shape | None, data: dict[str, Iterable[Batch] | None]
) -> None:
    """Check the classes of all samples before the training: the rare one may come last."""
    if not isinstance(criterion, CrossEntropyLoss) or shape is None:
        return
    try:
        out = model.output_shape(shape)
    except (NotImplementedError, TypeError, ValueError):  # the first batch will tell
        return
    for name, loader in data.items():
        if isinstance(loader, BatchLoader) and loader.y.dtype.kind in "iu" and out:
            _check.classes_in_range(f"y of {name}", loader.y, out[0], criterion.ignore_index)


def _check_schedule(schedule: Any, optimizer: Optimizer, epochs: int, every: str) -> None:
    if schedule is not None:
        _check.schedule_of(schedule, optimizer)
    if isinstance(schedule, OneCycleLR) and every == "epoch":
        _check.cycle_of_epochs(schedule.total_steps, epochs)


def _check_monitored(callbacks: Sequence[Callback], validates: bool, metrics: list[str]) -> None:
    """Check the columns that callbacks wait for, before an epoch has to end for that."""
    names = ["loss", *metrics]
    names += [f"val_{name}" for name in names] if validates else []
    for callback in callbacks:
        if callback.monitor is not None:
            known = [*names, "lr"]
            _check.monitored(type(callback).__name__, callback.monitor, known)
