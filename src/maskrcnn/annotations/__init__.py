"""Files of ground truth and the samples in them: one module a format, `formats` the table of them."""
