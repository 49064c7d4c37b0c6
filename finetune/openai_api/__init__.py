"""Fine-tuning through OpenAI's API: what goes there, what it costs, and how it is not paid for twice."""
