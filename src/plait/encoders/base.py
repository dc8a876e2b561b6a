"""`plait.modalities.encoder` under the name that programs knew it by.

In: nothing.
Out: the same names.
Invariant: nothing is defined here.
"""

from plait.modalities.encoder import Encoder as Encoder
from plait.modalities.encoder import check_heads as check_heads
from plait.modalities.encoder import grid_positions as grid_positions
from plait.modalities.encoder import length_mask as length_mask
from plait.modalities.encoder import sine_positions as sine_positions
from plait.modalities.encoder import zero_masked as zero_masked
