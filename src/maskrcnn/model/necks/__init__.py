"""Features of several strides made equally wide."""
