"""Looks a unit over, whether its daemon runs or not: one finding a thing, and what to do next."""
