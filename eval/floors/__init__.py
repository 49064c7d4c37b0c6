"""Retrieval without training, the floor that a model has to be above: nearest titles, the search, both on notes."""
