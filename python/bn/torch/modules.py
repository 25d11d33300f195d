"""PyTorch's normalization layers on `bn`'s core, alone and with what follows them."""

from __future__ import annotations

import torch
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm

from bn.torch.functional import group_norm, layer_norm, normalize


class Batches(AnyBatchNorm):
    """The forward pass of batch normalizations: their first base class, beside PyTorch's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize x."""
        return self.then(x)

    def then(
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None = None,
        activation: str | None = None,
    ) -> torch.Tensor:
        """``activation(normalized x + residual)``, where asked for: in one pass if possible.

        Parameters
        ----------
        x : torch.Tensor
        residual : torch.Tensor, optional
        activation : {"relu", "relu6"}, optional

        Returns
        -------
        torch.Tensor
        """
        self._check_input_dim(x)
        running, training, momentum = self.statistics()
        vectors = (self.weight, self.bias)
        return normalize(x, residual, *vectors, *running, training, momentum, self.eps, activation)

    def statistics(
        self,
    ) -> tuple[tuple[torch.Tensor | None, torch.Tensor | None], bool, float]:
        """The running statistics that a call needs, whether it takes the batch's, and the momentum.

        A batch that enters the running statistics is counted.
        """
        momentum = self.momentum
        if self.training and not self.track_running_stats:
            return (None, None), True, momentum or 0.0
        running = (self.running_mean, self.running_var)
        if not self.training:
            return running, running[0] is None and running[1] is None, momentum or 0.0
        batches = self.num_batches_tracked
        if batches is not None:
            batches.add_(1)
            if momentum is None:  # the mean of all batches
                momentum = 1.0 / float(batches)
        return running, True, momentum or 0.0


class BatchNorm1d(Batches, torch.nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d``, computed by `bn`.

    Parameters, state and results are PyTorch's. What is not on a CPU, PyTorch computes.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        As in ``torch.nn.BatchNorm1d``.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015.

    Examples
    --------
    >>> import torch
    >>> BatchNorm1d(1, affine=False)(torch.tensor([[1.0], [3.0]]))
    tensor([[-1.0000],
            [ 1.0000]])
    """


class BatchNorm2d(Batches, torch.nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d``, computed by `bn`.

    Parameters, state and results are PyTorch's. What is not on a CPU, PyTorch computes.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        As in ``torch.nn.BatchNorm2d``.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015.

    Examples
    --------
    >>> import torch
    >>> BatchNorm2d(1, affine=False)(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([[[[-1.0000,  1.0000]]]])
    """


class BatchNorm3d(Batches, torch.nn.BatchNorm3d):
    """``torch.nn.BatchNorm3d``, computed by `bn`.

    Parameters, state and results are PyTorch's. What is not on a CPU, PyTorch computes.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        As in ``torch.nn.BatchNorm3d``.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015.

    Examples
    --------
    >>> import torch
    >>> BatchNorm3d(1, affine=False)(torch.tensor([[[[[1.0, 3.0]]]]]))
    tensor([[[[[-1.0000,  1.0000]]]]])
    """


class BatchNormReLU2d(BatchNorm2d):
    """A batch normalization and the ReLU behind it, in one pass: ``relu(batch_norm(x))``.

    Its state is that of ``torch.nn.BatchNorm2d``.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        As in ``torch.nn.BatchNorm2d``.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015.

    Examples
    --------
    >>> import torch
    >>> BatchNormReLU2d(1, affine=False)(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([[[[0.0000, 1.0000]]]])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize x, and apply ReLU."""
        return self.then(x, activation="relu")


class BatchNormAddReLU2d(BatchNorm2d):
    """What ends a residual block, in one pass: ``relu(batch_norm(x) + residual)``.

    It is called with x and the residual. Its state is that of ``torch.nn.BatchNorm2d``.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        As in ``torch.nn.BatchNorm2d``.

    References
    ----------
    He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition", 2016.

    Examples
    --------
    >>> import torch
    >>> layer = BatchNormAddReLU2d(1, affine=False)
    >>> layer(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[2.0, 2.0]]]]))
    tensor([[[[1.0000, 3.0000]]]])
    """

    def forward(  # type: ignore[override]
        self, x: torch.Tensor, residual: torch.Tensor
    ) -> torch.Tensor:
        """Normalize x, add the residual, and apply ReLU."""
        return self.then(x, residual, "relu")


class LayerNorm(torch.nn.LayerNorm):
    """``torch.nn.LayerNorm``, computed by `bn`.

    Parameters, state and results are PyTorch's. What is not on a CPU, PyTorch computes.

    Parameters
    ----------
    normalized_shape, eps, elementwise_affine, bias, device, dtype
        As in ``torch.nn.LayerNorm``.

    References
    ----------
    Ba, Kiros & Hinton, "Layer Normalization", 2016.

    Examples
    --------
    >>> import torch
    >>> LayerNorm(2, eps=0.0, elementwise_affine=False)(torch.tensor([[1.0, 3.0]]))
    tensor([[-1.,  1.]])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize x."""
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class GroupNorm(torch.nn.GroupNorm):
    """``torch.nn.GroupNorm``, computed by `bn`.

    Parameters, state and results are PyTorch's. What is not on a CPU, PyTorch computes.

    Parameters
    ----------
    num_groups, num_channels, eps, affine, device, dtype, bias
        As in ``torch.nn.GroupNorm``.

    References
    ----------
    Wu & He, "Group Normalization", 2018.

    Examples
    --------
    >>> import torch
    >>> layer = GroupNorm(1, 2, eps=0.0, affine=False)
    >>> layer(torch.tensor([[[1.0], [3.0]]])).ravel()
    tensor([-1.,  1.])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize x."""
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
