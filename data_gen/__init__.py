"""Code set -> data sets of examples."""
