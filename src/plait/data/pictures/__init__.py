"""Pictures as a person sees them: whatever the file, upright RGB pixels of its first frame.

In: the bytes of a file, known by their content (`decode.py` is the door).
Out: a `Decoded` picture; or an exception of the decoder, which `plait.data.image` turns into a message.
Invariant: nothing global of Pillow's is read or changed: its limit of pixels, its register of formats, its warnings are the user's.
"""
