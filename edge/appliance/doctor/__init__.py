"""Run diagnostics on a unit, with or without its daemon.

Each check reports a result and, if it failed, what to do about it.
"""
