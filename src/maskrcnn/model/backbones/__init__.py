"""Backbones: images to features of strides 4 to 32, one family a file."""
