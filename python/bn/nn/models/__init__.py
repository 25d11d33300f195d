"""Known models: LeNet, ResNets, VGG, MobileNetV2, U-Net, networks of tutorials, and one for texts.

Each is a class with a forward, and each but those of tutorials has a function that makes it. The
names in the states are those of torchvision, where it has the model, so that the weights of one are
the weights of the other. Nothing is downloaded.
"""

from bn.nn.models.lenet import LeNet, lenet
from bn.nn.models.mobilenet import InvertedResidual, MobileNetV2, mobilenet_v2
from bn.nn.models.resnet import (
    BasicBlock,
    Bottleneck,
    CifarResNet,
    ResNet,
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet50,
    resnet56,
)
from bn.nn.models.text import TextClassifier, text_classifier
from bn.nn.models.tutorial import CNNWithBatchNorm, DeepCNNWithBatchNorm
from bn.nn.models.unet import DoubleConv, UNet, unet
from bn.nn.models.vgg import VGG, vgg11_bn

__all__ = [
    "VGG",
    "BasicBlock",
    "Bottleneck",
    "CNNWithBatchNorm",
    "CifarResNet",
    "DeepCNNWithBatchNorm",
    "DoubleConv",
    "InvertedResidual",
    "LeNet",
    "MobileNetV2",
    "ResNet",
    "TextClassifier",
    "UNet",
    "lenet",
    "mobilenet_v2",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet50",
    "resnet56",
    "text_classifier",
    "unet",
    "vgg11_bn",
]
