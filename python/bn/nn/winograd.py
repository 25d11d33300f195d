"""Whether convolutions of 3 x 3 are computed by Winograd's algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from bn.mode import Mode


class winograd(Mode):
    """Within it, convolutions may use Winograd's algorithm (True), or do not (False).

    Outside of it they do: convolutions of float32 with kernels of 3 x 3, a stride of 1 and at least
    16 channels in and 16 out (24 for the gradient of the weight) compute tiles of 2 x 2 outputs
    with 16 products of each pair of channels in place of 36, forward and backward.

    Parameters
    ----------
    mode : bool, default True

    Raises
    ------
    TypeError
        `mode` is not a bool.

    Notes
    -----
    It holds for this thread. Errors are up to a few times as large as without it, at most about
    1e-6 of the largest output. A pixel that is not finite makes more outputs NaN or infinite than
    those that are computed from it: all of the tiles that it is in, up to 16 for each channel. So
    do values above 8e37, because pixels are added before they are multiplied.

    References
    ----------
    Lavin & Gray, "Fast algorithms for convolutional neural networks", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> conv, x = nn.Conv2d(16, 16, 3, rng=0), np.ones((1, 16, 6, 6), np.float32)
    >>> with nn.winograd(False):
    ...     y = conv(x)
    >>> bool(np.allclose(conv(x), y, atol=1e-6))
    True
    """


def allowed(dtype: np.dtype[Any]) -> bool:
    """Whether convolutions of this dtype may use Winograd's algorithm now.

    Examples
    --------
    >>> with winograd(False):
    ...     allowed(np.dtype(np.float32))
    False
    """
    return dtype == np.float32 and winograd.on()
