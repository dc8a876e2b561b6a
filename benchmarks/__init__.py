"""How fast Plait is, beside Hugging Face's ways of the same work: `python -m benchmarks`."""
