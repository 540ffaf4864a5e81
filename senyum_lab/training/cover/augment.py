"""Random variations of faces: position, angle, light, blur, resolution, noise."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from edge.inference.occlusion import SIDE
from senyum_lab.training.cover.crops import ROOM


def vary(wide: Tensor, generator: torch.Generator) -> Tensor:
    """Return one crop, pixels 0 to 255, (n, 1, 64, 64), of each of (n, 1, 80, 80)."""
    count = len(wide)

    def spread(width: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * width

    angle, zoom = spread(math.radians(10)), torch.exp(spread(0.1)) / ROOM
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    turned = torch.stack(
        (
            torch.stack((zoom * flip * angle.cos(), -zoom * angle.sin(), spread(0.09)), 1),
            torch.stack((zoom * flip * angle.sin(), zoom * angle.cos(), spread(0.09)), 1),
        ),
        1,
    )
    grid = functional.affine_grid(turned, [count, 1, SIDE, SIDE], align_corners=False)
    crops = functional.grid_sample(wide, grid, align_corners=False, padding_mode="border")
    parts = list(crops.chunk(8))
    for i in range(5, len(parts)):  # some are coarse, as distant faces are
        side = int(torch.randint(24, SIDE, (1,), generator=generator))
        small = functional.interpolate(parts[i], (side, side), mode="area")
        parts[i] = functional.interpolate(small, (SIDE, SIDE), mode="bilinear")
    light = (torch.cat(parts) / 255).clamp(1e-3, 1) ** torch.exp(spread(0.6))[:, None, None, None]
    slope = torch.linspace(-1, 1, SIDE)
    light = light + spread(0.2)[:, None, None, None] * slope + spread(0.15)[:, None, None, None]
    noise = torch.rand(count, 1, 1, 1, generator=generator) ** 2 * 0.06
    light = light + noise * torch.randn(light.shape, generator=generator)
    return (light.clamp(0, 1) * 255).round()
