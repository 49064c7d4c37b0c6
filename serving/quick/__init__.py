"""A small Llama in NumPy: one phrase is answered in less time than it takes to import torch and transformers (6 s of CPU)."""
