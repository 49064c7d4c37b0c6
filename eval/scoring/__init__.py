"""What `eval.score` and `eval.paired` do step by step: check, count, measure, resample, calibrate, break down."""
