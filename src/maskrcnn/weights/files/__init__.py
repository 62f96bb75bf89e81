"""Weight files read without trusting them."""
