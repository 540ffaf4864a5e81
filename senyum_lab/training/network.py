"""Small networks, in float and with every number rounded as the int8 kernels of the device do.

Convolutions with ReLU, the mean over the last map, one linear layer: operators that int8 kernels
have had since 2020. Input: pixels 0 to 255; output: log-odds. A picture of one pixel needs no
convolution.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

INPUT_SCALE = 1 / 128  # a network's own input is (pixel - 128) / 128
_LEVELS = 255
_IN_RANGE = 0.9999  # of the activations lie in the range of a layer; the rest is clipped


@dataclass(frozen=True, slots=True)
class NetworkDesign:
    """The layers and the input of a network."""

    # Output channels and stride (1 or 2) of each convolution; none only where `side` is 1.
    layers: tuple[tuple[int, int], ...]
    side: int  # of the square input, in pixels; even at each stride of 2
    channels: int  # of the input: 1 grey, 3 colour
    outputs: int  # log-odds, each of another question
    most_logit: float  # the largest log-odds that int8 represents
    kernel: int = 3  # side of each convolution, 3 or 1

    @property
    def output_scale(self) -> float:
        """The step of the log-odds."""
        return self.most_logit / 127


class TrainableNetwork(nn.Module):
    """The network in float, with batch normalisation; training starts with it."""

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        self.design = design
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        channels = design.channels
        for wider, stride in design.layers:
            self.convolutions.append(nn.Conv2d(channels, wider, design.kernel, stride, bias=False))
            self.norms.append(nn.BatchNorm2d(wider))
            channels = wider
        self.dropout = nn.Dropout(0.3)
        self.line = nn.Linear(channels, design.outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the log-odds, (n, outputs), of (n, channels, side, side) pixels 0 to 255."""
        x = (pixels - 128) * INPUT_SCALE
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = pad(x, convolution.stride[0], self.design.kernel)
            x = functional.relu(norm(convolution(x)))
        logits: Tensor = self.line(self.dropout(x.mean((2, 3))))
        return logits


class QuantizedNetwork(nn.Module):
    """The network with folded normalisation, and weights and activations on their int8 grids.

    Weights are symmetric with one scale per channel; activations start at 0 with one scale per
    layer. Gradients ignore the rounding, and are 0 where a value is clipped.
    """

    scales: Tensor

    def __init__(self, network: TrainableNetwork, pixels: Tensor) -> None:
        """Fold `network`; derive the ranges of the activations from `pixels`, 0 to 255."""
        super().__init__()
        self.design = network.design
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        scales = []
        with torch.no_grad():
            x = (pixels - 128) * INPUT_SCALE
            for convolution, norm in zip(network.convolutions, network.norms, strict=True):
                gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                weight = convolution.weight * gain[:, None, None, None]
                bias = norm.bias - norm.running_mean * gain
                self.weights.append(nn.Parameter(weight))
                self.biases.append(nn.Parameter(bias))
                stride = convolution.stride[0]
                x = pad(x, stride, self.design.kernel)
                x = functional.relu(functional.conv2d(x, weight, bias, stride))
                scales.append(_quantile(x, _IN_RANGE) / _LEVELS)
            self.weights.append(nn.Parameter(network.line.weight.clone()))
            self.biases.append(nn.Parameter(network.line.bias.clone()))
        self.register_buffer("scales", torch.tensor(scales))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the log-odds, (n, outputs), that the int8 file gives."""
        x, scale_in = (pixels - 128) * INPUT_SCALE, INPUT_SCALE
        for i, (_, stride) in enumerate(self.design.layers):
            weight, bias = self._rounded(i, scale_in)
            x = functional.conv2d(pad(x, stride, self.design.kernel), weight, bias, stride)
            scale_in = float(self.scales[i])
            x = _round(x, scale_in, 0, _LEVELS)
        x = x.mean((2, 3))
        if self.design.layers:  # the input itself is on its grid already
            x = _round(x, scale_in, 0, _LEVELS)
        weight, bias = self._rounded(len(self.design.layers), scale_in)
        logits = functional.linear(x, weight, bias)
        return _round(logits, self.design.output_scale, -128, 127)

    def _rounded(self, i: int, scale_in: float) -> tuple[Tensor, Tensor]:
        """Return the weight and the bias of layer `i` on their grids."""
        weight = self.weights[i]
        scales = weight_scales(weight)
        shape = (-1, *(1 for _ in weight.shape[1:]))
        bias_scales = scales * scale_in
        return (
            _round(weight, scales.reshape(shape), -127, 127),
            _round(self.biases[i], bias_scales, -(2**31), 2**31 - 1),
        )


def pad(x: Tensor, stride: int, kernel: int = 3) -> Tensor:
    """Pad as SAME of TFLite does: right and bottom only with stride 2 on an even side."""
    if kernel == 1:  # and stride 1
        return x
    return functional.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


def weight_scales(weight: Tensor) -> Tensor:
    """Return the step of the weights of each output channel."""
    return weight.detach().abs().flatten(1).amax(1).clamp(min=1e-8) / 127


def _quantile(x: Tensor, share: float) -> float:
    """Return the quantile `share` of x."""
    flat = x.flatten()
    return float(flat.kthvalue(max(1, int(share * flat.numel()))).values)


def _round(x: Tensor, scale: float | Tensor, low: int, high: int) -> Tensor:
    steps = x / scale
    rounded = steps + (steps.round() - steps).detach()
    return rounded.clamp(low, high) * scale
