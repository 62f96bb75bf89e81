"""Image files become pixels: one module a kind of file, `images` the doors to all of them."""
