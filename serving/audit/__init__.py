"""An append-only log of who asked, what the model wrote and what a reviewer decided, each record chained to the one before."""
