"""The links between the sides of a sample under the name that they had before `plait.losses`.

In: nothing.
Out: what stands in `plait.losses.links`.
Invariant: they are the same classes.
"""

from plait.losses.links import MAX_SCALE as MAX_SCALE
from plait.losses.links import TARGET as TARGET
from plait.losses.links import Links as Links
from plait.losses.links import contrast as contrast
