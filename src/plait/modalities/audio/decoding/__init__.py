"""Recordings as they were made: every sample that a file holds, whatever its header says of its length.

In: a file, known by its content (`reading.py` is the door).
Out: a `Recording`: the wave at the rate asked for, of one channel.
Invariant: a file is read to its end or refused with the reason; a header's statement of a length is checked, never believed.
"""
