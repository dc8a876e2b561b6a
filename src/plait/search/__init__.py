"""What belongs to what: vectors of every side of a run that was trained with links, their ranks, and a saved index."""

from plait.search.index import Found, Hit, Index, Query, find, open_index
from plait.search.vectors import Entries, check_links, embed, entries, say_words

__all__ = [
    "Entries",
    "Found",
    "Hit",
    "Index",
    "Query",
    "check_links",
    "embed",
    "entries",
    "find",
    "open_index",
    "say_words",
]
