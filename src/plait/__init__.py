"""Plait: train language models that read text, images, audio and video, and measure which of them they need."""
