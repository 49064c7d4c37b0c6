"""Corpora: MIMIC-IV, CodiEsp and the user's own files as the examples that training and evaluation read."""
