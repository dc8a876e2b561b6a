"""Records of other tools: per-sample scores of models that Plait did not train, for the same statistics.

In: files of inspect_ai, lmms-eval, lm-evaluation-harness, or plain tables; each may be given a name, `NAME=PATH`.
Out: a `ComparisonResult`.
Invariant: a format is one file and one line in `FORMATS`; nothing in a file is executed, nothing is fetched.
"""

from plait.compare.others.compare import compare_others
from plait.compare.others.sources import FORMATS, is_other, read_source

__all__ = ["FORMATS", "compare_others", "is_other", "read_source"]
