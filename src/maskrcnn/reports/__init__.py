"""For people's eyes: pages, charts and tables."""
