"""Checkpoint -> API: engines that generate, and the OpenAI-compatible server."""
