"""`Strategy`: what every way to compute a convolution takes and returns."""

from __future__ import annotations

from typing import Protocol

from bn.nn.window import Window
from bn.types import Array

# The number of output pixels in one block of images: enough for an efficient matrix product, few
# enough that the block stays in the processor's cache.
BLOCK = 2048


class Strategy(Protocol):
    """A way to compute a convolution; each of the modules ``bn.nn.conv_*`` is one.

    Images always have the shape (N, C, H, W); those of a layer with the channels last are
    transposed views. `bn.nn.conv.strategy` chooses a strategy only for images whose order in memory
    it can use.

    Examples
    --------
    >>> import numpy as np
    >>> from bn.nn import conv_im2col
    >>> x, y = np.ones((1, 1, 3, 3)), np.empty((1, 1, 2, 2))
    >>> weight = np.ones((1, 1, 2, 2))
    >>> conv_im2col.convolve(x, weight, None, Window((2, 2)), y)
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
        self, x: Array, weight: Array, window: Window, dy: Array, dx: Array
    ) -> Array:
        """Compute dx and return the gradient of the weight.

        Parameters
        ----------
        x, weight, window
            As in `convolve`.
        dy : ndarray, shape (N, O, Ho, Wo)
            The gradient of the loss with respect to y.
        dx : ndarray, shape (N, C, H, W)
            Receives the gradient with respect to x.

        Returns
        -------
        ndarray
            Of the weight's shape.
        """


def block_size(images: int, places: int) -> int:
    """The number of images in one block, such that all blocks are about equally large.

    Parameters
    ----------
    images : int
        The number of images in the batch.
    places : int
        The number of output pixels of one image.

    Returns
    -------
    int

    Examples
    --------
    >>> block_size(images=9, places=512)  # blocks of at most 4 images: 3, 3 and 3
    3
    """
    most = max(1, BLOCK // max(1, places))
    blocks = -(-images // most)
    return -(-images // blocks) if blocks else 1
