"""`Strategy`: what every way to compute a convolution takes and returns, and which one is used."""

from __future__ import annotations

from typing import Protocol

from bn.nn import conv_direct, conv_im2col
from bn.nn.window import Window
from bn.types import Array, Shape


class Strategy(Protocol):
    """A way to compute a convolution; each of the modules ``bn.nn.conv_*`` is one.

    Images always have the shape (N, C, H, W), in any order in memory; those of a layer with
    ``axis=-1`` are transposed views.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.ones((1, 1, 3, 3)), np.empty((1, 1, 2, 2))
    >>> weight = np.ones((1, 1, 2, 2))
    >>> strategy().convolve(x, weight, None, Window((2, 2)), y)
    >>> y
    array([[[[4., 4.],
             [4., 4.]]]])
    """

    def convolve(
        self, x: Array, weight: Array, bias: Array | None, window: Window, y: Array
    ) -> None:
        """Compute y.

        Parameters
        ----------
        x : ndarray, shape (N, C, H, W)
        weight : ndarray, shape (O, C / groups, kh, kw)
            The number of groups follows from the channels of x.
        bias : ndarray of shape (O,), or None
        window : Window
        y : ndarray, shape (N, O, Ho, Wo)
            Receives the result; its values before the call do not matter.
        """

    def convolve_backward(
        self,
        x: Array,
        weight: Array,
        window: Window,
        dy: Array,
        dx: Array | None,
        dbias: Array | None,
    ) -> Array:
        """Compute dx and dbias and return the gradient of the weight.

        Parameters
        ----------
        x, weight, window
            As in `convolve`.
        dy : ndarray, shape (N, O, Ho, Wo)
            The gradient of the loss with respect to y.
        dx : ndarray of shape (N, C, H, W), or None
            Receives the gradient with respect to x; with None, it is not computed.
        dbias : ndarray of shape (O,), or None
            Receives the gradient with respect to the bias, the sum of each channel of dy.

        Returns
        -------
        ndarray
            Of the weight's shape.
        """

    def convolve_dx(
        self, weight: Array, window: Window, dy: Array, dx: Array, bias: Array | None = None
    ) -> None:
        """Compute dx, plus a bias of its channels if there is one: a transposed convolution.

        Parameters
        ----------
        weight, window, dy
            As in `convolve_backward`.
        dx : ndarray, shape (N, C, H, W)
            Receives the result.
        bias : ndarray of shape (C,), or None
        """

    def convolve_dweight(
        self, x: Array, shape: Shape, window: Window, dy: Array, dbias: Array | None
    ) -> Array:
        """Compute dbias and return the gradient of the weight, which has this shape.

        Parameters
        ----------
        x, window, dy, dbias
            As in `convolve_backward`.
        shape : tuple of int

        Returns
        -------
        ndarray
        """


def strategy() -> Strategy:
    """The compiled kernels, or matrix products where the kernels lack the CPU's instructions.

    Returns
    -------
    Strategy

    Examples
    --------
    >>> strategy().__name__ in ("bn.nn.conv_direct", "bn.nn.conv_im2col")
    True
    """
    return conv_direct if conv_direct.FAST else conv_im2col
