"""Pictures as a person sees them: whatever the file, upright RGB pixels of its first frame.

In: the bytes of a file, known by their content (`decode.py` is the door).
Out: a `Decoded` picture; or an exception of the decoder, which `plait.modalities.image.prepare` turns into a message.
Invariant: Pillow stays the user's: its limit of pixels, its register of formats and its warnings are for other code what they were.
"""
