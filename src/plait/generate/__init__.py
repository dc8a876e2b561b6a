"""Generation: inputs → text, token by token. One engine for the command line, evaluation and serving.

In: a model, its tokenizer, a batch of inputs.
Out: `Generated` texts; `engine.py` says what may be given.
Invariant: what is imported from here is all that the rest of Plait uses.
"""

from plait.generate.draft import END, Draft, Generated, Writer
from plait.generate.engine import generate, next_tokens, stream
from plait.generate.one_path import write
from plait.generate.ranking import choice_notes

__all__ = ["END", "Draft", "Generated", "Writer", "choice_notes", "generate", "next_tokens", "stream", "write"]
