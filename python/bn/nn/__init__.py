"""The NumPy CNN pipeline: layers with explicit backward passes, losses, optimizers, checkpoints."""

from typing import TYPE_CHECKING, NoReturn

from bn import _check, layers
from bn.module import Module
from bn.nn import augment, models
from bn.nn.activations import LeakyReLU, LogSoftmax, ReLU, ReLU6, Sigmoid, Softmax, Tanh
from bn.nn.adaptive_pooling import AdaptiveAvgPool2d
from bn.nn.capture import Captured, capture
from bn.nn.checkpoint import load, metadata, save
from bn.nn.clipping import clip_grad_norm
from bn.nn.containers import ModuleDict, ModuleList, Residual, Sequential
from bn.nn.conv import Conv2d
from bn.nn.conv1d import Conv1d
from bn.nn.conv_transpose import ConvTranspose2d
from bn.nn.cross_entropy import CrossEntropyLoss
from bn.nn.dropout import Dropout, Dropout2d
from bn.nn.embedding import Embedding
from bn.nn.flatten import Flatten
from bn.nn.gradcheck import gradcheck
from bn.nn.identity import Identity
from bn.nn.linear import Linear
from bn.nn.losses import BCEWithLogitsLoss, L1Loss, MSELoss, SmoothL1Loss
from bn.nn.memory_order import channels_last
from bn.nn.one_cycle import OneCycleLR
from bn.nn.optim import SGD, Adam, AdamW, RMSprop
from bn.nn.optimizer import Optimizer
from bn.nn.padding import ZeroPad2d
from bn.nn.param_groups import no_decay
from bn.nn.plateau import ReduceLROnPlateau
from bn.nn.pooling import AvgPool2d, MaxPool2d
from bn.nn.pooling1d import AvgPool1d, MaxPool1d
from bn.nn.prelu import PReLU
from bn.nn.recurrent import GRU, LSTM, RNN
from bn.nn.schedules import CosineAnnealingLR, LinearLR, StepLR
from bn.nn.sequential_lr import SequentialLR
from bn.nn.smooth_activations import ELU, GELU, Hardswish, SiLU, Softplus
from bn.nn.training.callbacks import (
    BestCheckpoint,
    Callback,
    CSVLogger,
    EarlyStopping,
    TrainingState,
)
from bn.nn.training.evaluating import evaluate
from bn.nn.training.fit import fit
from bn.nn.training.history import History
from bn.nn.training.loader import BatchLoader
from bn.nn.training.parallel import DataParallel
from bn.nn.training.resuming import load_training, save_training
from bn.nn.upsampling import Upsample
from bn.nn.weight_standardization import WeightStandardization
from bn.nn.winograd import winograd
from bn.parameter import Parameter
from bn.recording.kept import no_grad
from bn.recording.value import Value, concatenate
from bn.recording.waiting import fused

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Adam",
    "AdamW",
    "AdaptiveAvgPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchLoader",
    "BestCheckpoint",
    "CSVLogger",
    "Callback",
    "Captured",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CosineAnnealingLR",
    "CrossEntropyLoss",
    "DataParallel",
    "Dropout",
    "Dropout2d",
    "EarlyStopping",
    "Embedding",
    "Flatten",
    "Hardswish",
    "History",
    "Identity",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LinearLR",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "OneCycleLR",
    "Optimizer",
    "PReLU",
    "Parameter",
    "RMSprop",
    "ReLU",
    "ReLU6",
    "ReduceLROnPlateau",
    "Residual",
    "Sequential",
    "SequentialLR",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "StepLR",
    "Tanh",
    "TrainingState",
    "Upsample",
    "Value",
    "WeightStandardization",
    "ZeroPad2d",
    "augment",
    "capture",
    "channels_last",
    "clip_grad_norm",
    "concatenate",
    "evaluate",
    "fit",
    "fused",
    "gradcheck",
    "load",
    "load_training",
    "metadata",
    "models",
    "no_decay",
    "no_grad",
    "save",
    "save_training",
    "winograd",
]

if not TYPE_CHECKING:  # type checkers would believe that there is every name

    def __getattr__(name: str) -> NoReturn:
        raise _check.no_name_in_nn(name, layers.__all__)
