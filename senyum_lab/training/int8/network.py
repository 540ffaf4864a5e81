"""Small networks, in float and with every number rounded as the unit's int8 kernels round it.

Plain convolutions with ReLU, the mean over the last map, one straight line: nothing that an
int8 kernel of 2020 does not have. Input: pixels 0 to 255; output: log-odds. A picture of one pixel
may have no convolution at all.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

INPUT_SCALE = 1 / 128  # a network's own input is (pixel - 128) / 128
_LEVELS = 255
_SEEN = 0.9999  # of the activations lie in a layer's range; the rest is clipped


@dataclass(frozen=True, slots=True)
class Design:
    """What one network is made of."""

    # Output channels and stride (1 or 2) of each convolution; none only where `side` is 1.
    layers: tuple[tuple[int, int], ...]
    side: int  # of the square input, in pixels; even at each stride of 2
    channels: int  # of the input: 1 grey, 3 colour
    outputs: int  # log-odds, each of a question of its own
    most_logit: float  # the largest log-odds that int8 can say
    kernel: int = 3  # side of each convolution, 3 or 1

    @property
    def output_scale(self) -> float:
        """The step of the log-odds."""
        return self.most_logit / 127


class TrainableNetwork(nn.Module):
    """The network in float, with batch normalisation; what training begins with."""

    def __init__(self, design: Design) -> None:
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


class Quantized(nn.Module):
    """The same network with its norms folded, and weights and activations on their int8 grids.

    Weights: symmetric, a scale for each channel. Activations: a scale for each layer, from 0 up.
    Gradients pass the rounding as if it were not there, and stop where a range clips.
    """

    scales: Tensor

    def __init__(self, network: TrainableNetwork, pixels: Tensor) -> None:
        """Fold `network`, and take the activations' ranges from `pixels` as it takes them."""
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
                scales.append(_share(x, _SEEN) / _LEVELS)
            self.weights.append(nn.Parameter(network.line.weight.clone()))
            self.biases.append(nn.Parameter(network.line.bias.clone()))
        self.register_buffer("scales", torch.tensor(scales))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the log-odds, (n, outputs), as the int8 file gives them."""
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
        """Return weight and bias of layer `i` on their grids."""
        weight = self.weights[i]
        scales = weight_scales(weight)
        shape = (-1, *(1 for _ in weight.shape[1:]))
        bias_scales = scales * scale_in
        return (
            _round(weight, scales.reshape(shape), -127, 127),
            _round(self.biases[i], bias_scales, -(2**31), 2**31 - 1),
        )


def pad(x: Tensor, stride: int, kernel: int = 3) -> Tensor:
    """Pad as TFLite's SAME does: with stride 2 on an even side, right and bottom only."""
    if kernel == 1:  # and stride 1
        return x
    return functional.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


def weight_scales(weight: Tensor) -> Tensor:
    """Return the step of each output channel's weights."""
    return weight.detach().abs().flatten(1).amax(1).clamp(min=1e-8) / 127


def _share(x: Tensor, share: float) -> float:
    """Return the value that `share` of x lie below."""
    flat = x.flatten()
    return float(flat.kthvalue(max(1, int(share * flat.numel()))).values)


def _round(x: Tensor, scale: float | Tensor, low: int, high: int) -> Tensor:
    steps = x / scale
    rounded = steps + (steps.round() - steps).detach()
    return rounded.clamp(low, high) * scale
