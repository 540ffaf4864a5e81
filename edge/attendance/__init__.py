"""The rules of attendance, pure: no input or output, no threads, the clock is an argument."""
