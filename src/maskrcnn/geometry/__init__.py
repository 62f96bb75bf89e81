"""Pure functions on NumPy arrays: encodings, masks, polygons, boxes, turns."""
