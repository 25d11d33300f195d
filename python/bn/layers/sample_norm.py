"""What layer, group, instance and RMS normalization share: statistics of each sample by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.functional import epilogue_of
from bn.groups import Groups
from bn.module import Module, copy_all
from bn.parameter import Parameter
from bn.recording.waiting import Joinable, MaxPooling
from bn.rows import Gradients, Rows
from bn.statistics import Stats
from bn.types import Array, Doubles, Shape


class SampleNorm(Module):
    """A normalization whose statistics are those of parts of a sample.

    It is the same in training and in evaluation. A subclass defines `parts`, and calls `create`.

    Parameters
    ----------
    eps : float
        Added to the variance; at least 0.
    dtype : dtype
        Of the parameters, float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter or None
    """

    fuses = True
    kept_names = ("x",)

    def __init__(self, eps: float, dtype: DTypeLike) -> None:
        _check.eps(eps)
        self.eps = eps
        self.dtype: np.dtype[Any] = _check.floating_dtype(dtype)
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None

    def create(self, shape: Shape, scale: bool, center: bool, **learned: object) -> None:
        """Make the parameters.

        Parameters
        ----------
        shape : tuple of int
            Of the parameters.
        scale, center : bool
            Whether there are a weight and a bias.
        **learned : object
            Attributes that are set with them.
        """
        made: dict[str, object] = dict(learned)
        if scale:
            made["weight"] = Parameter(self.initial("weight", shape))
        if center:
            made["bias"] = Parameter(self.initial("bias", shape))
        vars(self).update(made)  # all at once, whatever interrupts it

    def initial(self, name: str, shape: Shape) -> Array:
        """What the weight or the bias begins with."""
        return np.full(shape, 1.0 if name == "weight" else 0.0, self.dtype)

    def reset_parameters(self) -> None:
        """Begin anew, with the first weight and bias."""
        copy_all(
            (parameter.data, self.initial(name, parameter.shape))
            for name, parameter in (("weight", self.weight), ("bias", self.bias))
            if parameter is not None
        )

    def parts(self, x: Array) -> Rows | Groups:
        """Check x; tell which parts of it have a statistic."""
        raise NotImplementedError

    def eps_for(self, x: Array) -> float:
        """The eps for this x."""
        return self.eps

    def affine_arrays(self) -> tuple[Array | None, Array | None]:
        """The arrays of weight and bias; None where there is none."""
        weight, bias = self.weight, self.bias
        return None if weight is None else weight.data, None if bias is None else bias.data

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(self, x: Array) -> Array:
        """Normalize x.

        Parameters
        ----------
        x : ndarray

        Returns
        -------
        ndarray
        """
        waiting = SampleNormalization(self, x, self.parts(x))
        y = waiting.array()
        self.keep(y, x, waiting)
        return y

    def defer(self, x: Array, **options: Any) -> SampleNormalization | None:
        """`forward`, but for y, which waits for the layers that follow."""
        if options:
            return None
        y = SampleNormalization(self, x, self.parts(x))
        self.keep(y, x, y)
        return y

    def backward(self, dy: Array) -> Array:
        """Gradient of x; those of weight and bias are added to their ``grad``."""
        _, waiting = self.take(dy)
        dx: Array = waiting.input_gradient(dy)
        return dx

    def add_gradients(self, dweight: Doubles, dbias: Doubles) -> None:
        """Add to the ``grad`` of weight and bias, where there are some."""
        if self.weight is not None:
            self.weight.accumulate(dweight.reshape(self.weight.shape))
        if self.bias is not None:
            self.bias.accumulate(dbias.reshape(self.bias.shape))


class SampleNormalization(Joinable):
    """One call of a `SampleNorm`, whose output may wait for an addition and an activation.

    Parameters
    ----------
    layer : SampleNorm
    x : ndarray
    parts : Rows or Groups
        What the layer's `parts` returned.
    """

    def __init__(self, layer: SampleNorm, x: Array, parts: Rows | Groups) -> None:
        super().__init__(x, x.shape, 1)
        self.layer, self.parts, self.eps = layer, parts, layer.eps_for(x)
        # copies, because what waits must not see parameters that change after the call
        weight, bias = layer.affine_arrays()
        self.weight = None if weight is None else weight.copy()
        self.bias = None if bias is None else bias.copy()
        self.batch: Stats | None = None

    def how(self) -> str:
        return "own statistics"

    def pools(self, pooling: MaxPooling) -> bool:
        return False

    def array(self) -> Array:
        y, self.batch = self.parts.forward(
            self.x, self.weight, self.bias, self.eps, self.residual, self._epilogue()
        )
        self.y = y if self.residual is not None and self.activation is not None else None
        return y

    def backward(self, dy: Array, wanted: bool) -> Sequence[Array | None]:
        assert self.batch is not None
        found: Gradients = self.parts.backward(
            dy, self.x, self.batch, self.weight, self.bias, self.eps, self.y, self._epilogue(),
            self.residual is not None and self.activation is not None,
        )  # fmt: skip
        self.layer.add_gradients(found.dweight, found.dbias)
        return self.gradients(found.dx, dy if found.dresidual is None else found.dresidual)

    def input_gradient(self, dy: Array) -> Array:
        """The gradient of x; those of the parameters are added."""
        dx = self.backward(dy, True)[0]
        assert dx is not None
        return dx

    def _epilogue(self) -> tuple[int, float]:
        return epilogue_of(*(self.activation or (None, 0.0)))
