"""The interfaces of other projects, for code that was written against them."""
