"""Random variations of faces: position, angle, light, blur, resolution, noise, occlusion."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from edge.inference.smile import SIDE
from senyum_lab.training.smile.crops import ROOM

# The mean position of the corners of the mouth in the crop, -1 to 1, and the radius of a warp.
_CORNERS = ((-0.35, 0.39), (0.35, 0.39))
_REACH = 0.16


def vary(wide: Tensor, lift: Tensor, generator: torch.Generator) -> Tensor:
    """Return one crop, pixels 0 to 255, (n, 1, 64, 64), of each of (n, 1, 96, 96).

    `lift`, (n,): how far the corners of the mouth move up and outwards, in half crops.
    """
    count = len(wide)

    def spread(width: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * width

    angle, zoom = spread(math.radians(8)), torch.exp(spread(0.08)) / ROOM
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shape = torch.exp(spread(0.05))
    turned = torch.stack(
        (
            torch.stack((zoom * flip * shape * angle.cos(), -zoom * angle.sin(), spread(0.06)), 1),
            torch.stack((zoom * flip * shape * angle.sin(), zoom * angle.cos(), spread(0.06)), 1),
        ),
        1,
    )
    grid = functional.affine_grid(turned, [count, 1, SIDE, SIDE], align_corners=False)
    grid = grid + _lifted(grid * ROOM, lift)
    crops = functional.grid_sample(wide, grid, align_corners=False, padding_mode="border")
    crops = _coarse(crops, generator)
    light = (crops / 255).clamp(1e-3, 1) ** torch.exp(spread(0.5))[:, None, None, None]
    middle = light.mean((1, 2, 3), keepdim=True)
    light = (light - middle) * torch.exp(spread(0.35))[:, None, None, None] + middle
    slope = torch.linspace(-1, 1, SIDE)
    light = light + spread(0.15)[:, None, None, None] * slope + spread(0.12)[:, None, None, None]
    noise = torch.rand(count, 1, 1, 1, generator=generator) ** 2 * 0.05
    light = light + noise * torch.randn(light.shape, generator=generator)
    return (_covered(light, generator).clamp(0, 1) * 255).round()


def _lifted(grid: Tensor, lift: Tensor) -> Tensor:
    """Return the displacement of each point of the grid for a mouth lifted by `lift`."""
    moved = torch.zeros_like(grid)
    for x, y in _CORNERS:
        centre = torch.tensor((x, y))
        near = torch.exp(-((grid - centre) ** 2).sum(-1) / (2 * _REACH**2))
        outwards = math.copysign(0.6, x)
        moved = moved + (near * lift[:, None, None])[..., None] * torch.tensor((-outwards, 1.0))
    return moved / ROOM


def _coarse(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Reduce the resolution of the second half of the batch, differently for each eighth."""
    parts = list(crops.chunk(8))
    for i in range(4, len(parts)):
        side = int(torch.randint(24, SIDE, (1,), generator=generator))
        small = functional.interpolate(parts[i], (side, side), mode="area")
        parts[i] = functional.interpolate(
            small, (SIDE, SIDE), mode="bicubic", align_corners=False
        ).clamp(0, 255)
    return torch.cat(parts)


def _covered(light: Tensor, generator: torch.Generator) -> Tensor:
    """Cover a few faces with a grey rectangle, usually above the mouth."""
    for i in range(0, len(light), 8):
        left, top = (int(n) for n in torch.randint(0, SIDE, (2,), generator=generator))
        across, down = (int(n) for n in torch.randint(4, SIDE // 3, (2,), generator=generator))
        bottom = min(top + down, SIDE // 2) if top < SIDE // 2 else top + down // 4
        light[i, :, top:bottom, left : left + across] = torch.rand(1, generator=generator)
    return light
