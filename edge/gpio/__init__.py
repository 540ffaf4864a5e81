"""Cues to light and sound."""

from edge.gpio.board import Board
from edge.gpio.keeper import PanelKeeper
from edge.gpio.panel import Panel

__all__ = ["Board", "Panel", "PanelKeeper"]
