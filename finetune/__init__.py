"""Data sets -> checkpoints."""
