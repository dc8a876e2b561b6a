"""The CTC loss under the name that it had before `plait.losses`.

In: nothing.
Out: what stands in `plait.losses.ctc`.
Invariant: it is the same class.
"""

from plait.losses.ctc import CTC as CTC
