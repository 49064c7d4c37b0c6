"""Checkpoint or endpoint -> predictions -> scores -> report."""
