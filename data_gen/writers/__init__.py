"""Texts written by a language model behind any OpenAI-compatible API: asked once, kept, priced before they are asked for."""
