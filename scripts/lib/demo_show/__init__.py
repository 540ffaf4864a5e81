"""The demo: a private world in one folder, scenes played into a real unit, and the proof."""
