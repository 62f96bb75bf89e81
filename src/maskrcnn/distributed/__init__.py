"""Beyond one device and one machine."""
