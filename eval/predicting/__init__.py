"""What `eval.predict` does step by step: choose examples, take over a stopped run, answer, score and rank codes."""
