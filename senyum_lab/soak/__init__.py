"""`scripts/soak`: a whole unit at work for long, and what it takes of the machine meanwhile."""
