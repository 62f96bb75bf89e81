"""Makes stardist_matching.npz: label images and what StarDist 0.9.2 says of them. Needs stardist; run it in this folder."""

import numpy as np
from stardist.matching import matching, matching_dataset

THRESHOLDS = [round(0.5 + 0.05 * step, 2) for step in range(10)]
SIZE = (48, 64)


def draw(rng: np.random.Generator, num_objects: int, jitter: int) -> tuple[np.ndarray, np.ndarray]:
    """Ellipses, later ones on top, and the same ones moved and resized; some left out, some added."""
    truth, found = np.zeros(SIZE, np.uint16), np.zeros(SIZE, np.uint16)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for number in range(1, num_objects + 1):
        centre, radii = rng.uniform((0, 0), SIZE), rng.uniform(3, 9, 2)
        moved, resized = centre + rng.integers(-jitter, jitter + 1, 2), radii * rng.uniform(0.8, 1.25, 2)
        fate = rng.random()
        for image, c, r, absent in ((truth, centre, radii, fate < 0.1), (found, moved, resized, fate > 0.9)):
            if not absent:
                image[((rows - c[0]) / r[0]) ** 2 + ((columns - c[1]) / r[1]) ** 2 <= 1] = 3 * number  # numbers with gaps
    return truth, found


rng = np.random.default_rng(0)
pairs = [draw(rng, num_objects, jitter) for num_objects, jitter in ((3, 0), (8, 1), (12, 2), (20, 1), (25, 3))]
empty = np.zeros(SIZE, np.uint16)
pairs += [(empty, empty), (pairs[0][0], empty), (empty, pairs[0][0])]
whole, halves = empty.copy(), empty.copy()
whole[10:20, 10:30], halves[10:20, 10:20], halves[10:20, 20:30] = 1, 1, 2  # two matches at an IoU of exactly 1/2
pairs += [(whole, halves), (halves, whole)]
tenths = empty.copy()
tenths[10:21, 10:30] = 1  # an IoU of exactly 10 / 11; then exactly 0.55
twenty, eleven = empty.copy(), empty.copy()
twenty[0, :20], eleven[0, :11] = 1, 1
pairs += [(whole, tenths), (twenty, eleven)]
truth, found = (np.stack(images) for images in zip(*pairs, strict=True))

each = [[matching(t, f, thresh=threshold) for threshold in THRESHOLDS] for t, f in pairs]
together = matching_dataset(truth, found, thresh=THRESHOLDS, show_progress=False)
np.savez_compressed(
    "stardist_matching.npz",
    truth=truth,
    found=found,
    accuracy=[[result.accuracy for result in row] for row in each],  # (P, T)
    panoptic_quality=[row[0].panoptic_quality for row in each],  # (P,)
    dataset_accuracy=[result.accuracy for result in together],  # (T,)
    dataset_panoptic_quality=together[0].panoptic_quality,
)
