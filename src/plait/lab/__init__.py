"""The laboratory of known truth: tasks whose information is known in bits, and what trained models are found to use of it."""
