"""Laws of maps read and filled at points."""

from __future__ import annotations

import cv2
import numpy as np
from tensors import compute

from maskrcnn.ops import points


def test_doubling_is_opencvs_bilinear():
    maps = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    doubled = compute(points.double, maps)
    wanted = [cv2.resize(each, (14, 10), interpolation=cv2.INTER_LINEAR) for each in maps]
    np.testing.assert_allclose(doubled, wanted, atol=1e-5)
