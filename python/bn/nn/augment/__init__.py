"""Augmentation: random changes of a batch of images, which a network should not mind.

Each of these is a callable ``augment(x, y, rng) -> (x, y)`` of a whole batch. All that is random
comes from the generator that the call gets, so that a training run that was stopped and goes on
with the generator's state draws the same changes.
"""

from bn.nn.augment.base import Augmentation
from bn.nn.augment.compose import Compose
from bn.nn.augment.geometry import RandomCrop, RandomFlip
from bn.nn.augment.mixing import Mixup
from bn.nn.augment.pixels import Cutout, Normalize

__all__ = [
    "Augmentation",
    "Compose",
    "Cutout",
    "Mixup",
    "Normalize",
    "RandomCrop",
    "RandomFlip",
]
