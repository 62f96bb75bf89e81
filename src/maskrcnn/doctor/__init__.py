"""What a data set is like, what to set for it, and what is wrong with it."""
