"""Grain, imported without the warning that it gives where JAX is not installed: it would use JAX's profiler, and that alone."""

from __future__ import annotations

import logging as levels

from absl import logging


def _is_of_more(record: levels.LogRecord) -> bool:
    return "jax profiler" not in record.getMessage()


logging.get_absl_logger().addFilter(_is_of_more)
try:
    import grain as grain
finally:
    logging.get_absl_logger().removeFilter(_is_of_more)
