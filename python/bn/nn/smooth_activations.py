"""Activation functions made of the exponential function, and `Hardswish`, which is near to one."""

from __future__ import annotations

from bn import _check
from bn._core import core
from bn.module import Elementwise
from bn.types import Array


class GELU(Elementwise):
    r"""Gaussian error linear units, :math:`y = x \Phi(x)`.

    :math:`\Phi(x) = (1 + \mathrm{erf}(x / \sqrt 2)) / 2` is the part of a standard normal
    distribution below x. x and y have any shape, and the same one.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "tanh" computes :math:`\frac{x}{2} (1 + \tanh(\sqrt{2 / \pi} (x + 0.044715 x^3)))`.

    Raises
    ------
    ValueError
        `approximate` is neither of the two.

    See Also
    --------
    SiLU : A function of nearly the same shape, which takes less time.

    Notes
    -----
    The tail of negative x keeps its digits: y is right to 10 units in the last place. Where x is
    -inf, y is -0, the limit; PyTorch gives NaN.

    References
    ----------
    torch.nn.GELU. Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> GELU()(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """

    kept_names = ("x",)

    def __init__(self, approximate: str = "none") -> None:
        _check.one_of("approximate", approximate, ("none", "tanh"))
        self.approximate = approximate

    def forward(self, x: Array) -> Array:
        _check.floating("x of GELU", x)
        y = core.gelu(x, self.approximate == "tanh")
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        return core.gelu_dx(dy, x, self.approximate == "tanh")

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Elementwise):
    """The sigmoid linear unit, y = x / (1 + exp(-x)), also called swish.

    Parameters
    ----------
    inplace : bool
        PyTorch's argument; it is taken and ignored.

    See Also
    --------
    Hardswish : An approximation without an exponential.

    Notes
    -----
    Where x is -inf, y is -0, the limit; PyTorch gives NaN.

    References
    ----------
    torch.nn.SiLU.

    Examples
    --------
    >>> import numpy as np
    >>> SiLU()(np.array([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """

    kept_names = ("x",)

    def __init__(self, inplace: bool = False) -> None:
        _check.flag("inplace", inplace)

    def forward(self, x: Array) -> Array:
        _check.floating("x of SiLU", x)
        y = core.silu(x)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        return core.silu_dx(dy, x)


class ELU(Elementwise):
    """The exponential linear unit, y = x where x > 0, otherwise alpha * (exp(x) - 1).

    Parameters
    ----------
    alpha : float
        What y approaches for very negative x, with the opposite sign.
    inplace : bool
        PyTorch's argument; it is taken and ignored.

    Raises
    ------
    ValueError
        alpha is not a finite number.

    References
    ----------
    torch.nn.ELU.

    Examples
    --------
    >>> import numpy as np
    >>> ELU(2.0)(np.array([-1000.0, 0.0, 3.0]))
    array([-2.,  0.,  3.])
    """

    kept_names = ("x",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        _check.flag("inplace", inplace)
        _check.finite("alpha", alpha)
        self.alpha = float(alpha)

    def forward(self, x: Array) -> Array:
        _check.floating("x of ELU", x)
        y = core.elu(x, self.alpha)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        return core.elu_dx(dy, x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class Softplus(Elementwise):
    r"""A smooth positive part, :math:`y = \frac{1}{\beta} \log(1 + e^{\beta x})`.

    Parameters
    ----------
    beta : float
        How sharp the bend at 0 is.
    threshold : float
        Where beta * x is larger, y is x, as in PyTorch.

    Raises
    ------
    ValueError
        beta is not a finite number above 0, or `threshold` is not a finite number.

    References
    ----------
    torch.nn.Softplus.

    Examples
    --------
    >>> import numpy as np
    >>> Softplus()(np.array([-1000.0, 0.0, 1000.0])).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+03])
    """

    kept_names = ("x",)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        _check.above("beta", beta, 0)
        _check.finite("threshold", threshold)
        self.beta, self.threshold = float(beta), float(threshold)

    def forward(self, x: Array) -> Array:
        _check.floating("x of Softplus", x)
        y = core.softplus(x, self.beta, self.threshold)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        return core.softplus_dx(dy, x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardswish(Elementwise):
    """y = x * min(max(x + 3, 0), 6) / 6, which is near to `SiLU`.

    Parameters
    ----------
    inplace : bool
        PyTorch's argument; it is taken and ignored.

    Notes
    -----
    Where x is -inf, y is 0, the limit; PyTorch gives NaN.

    References
    ----------
    torch.nn.Hardswish.

    Examples
    --------
    >>> import numpy as np
    >>> hardswish = Hardswish()
    >>> hardswish(np.array([-4.0, 0.0, 1.5, 4.0])), hardswish.backward(np.ones(4))
    (array([0.   , 0.   , 1.125, 4.   ]), array([0. , 0.5, 1. , 1. ]))
    """

    kept_names = ("x",)

    def __init__(self, inplace: bool = False) -> None:
        _check.flag("inplace", inplace)

    def forward(self, x: Array) -> Array:
        _check.floating("x of Hardswish", x)
        y = core.hardswish(x)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        return core.hardswish_dx(dy, x)
