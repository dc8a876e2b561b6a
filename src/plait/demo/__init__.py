"""The embedded data: pictures with one coloured shape, and spoken or typed questions about them."""
