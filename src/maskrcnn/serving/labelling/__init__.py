"""A project that people correct: its images and objects (`store`), what to do next (`ordering`), training on (`training`)."""
