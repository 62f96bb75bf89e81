"""Files of ground truth become `Sample`s, and `Sample`s become files again: a table of formats, one file a format."""
