"""The same API where vLLM cannot run: a small server over transformers, with the same constraint.

`transformers serve` was considered: it takes no logits processor, so it could not keep answers to existing codes, and it has
no `/v1/completions`. This one speaks what our clients use of vLLM's API (`protocol.py` lists it) and refuses the rest in words.
"""
