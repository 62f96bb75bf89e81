"""What a run of training is made of: optimizers, precision, what is frozen, callbacks, and going on after a stop."""
