"""Comparing arms: which fusion, language model, encoder, inputs, on these data, with how much certainty, at what price.

In: a configuration and arms; or runs that exist.
Out: a `ComparisonResult`: the verdict, every arm's score, difference and price, and what was equal.
Invariant: scores come from records; no arm is trained twice, and a failed one is a row with its reason.
"""
