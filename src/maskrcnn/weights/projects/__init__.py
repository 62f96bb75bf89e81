"""The names, layouts and conventions of other projects, one file a source."""
