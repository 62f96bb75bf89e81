# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Objects of a video
#
# A video is a file, or a folder of images in the order of their names. Here a window moves over an image of nuclei, as a camera would.

# %%
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import maskrcnn
from maskrcnn.results.draw import draw_tracks
from maskrcnn.verbs.track import track_frames
from maskrcnn.weights.published import SHIPPED

folder = Path(tempfile.mkdtemp())
image = np.asarray(Image.open(SHIPPED["nuclei"].with_suffix(".png")).convert("RGB"))
for number in range(5):
    left = 6 * number
    Image.fromarray(image[:160, left : left + 160]).save(folder / f"{number}.png")

# %% [markdown]
# Smaller frames than the model's own are faster, and enough for this:

# %%
model = maskrcnn.MaskRCNN.from_checkpoint("nuclei", image__short_side=320, image__long_side=534)

# %% [markdown]
# ## Follow them
#
# Each object keeps its number from frame to frame.

# %%
frames = list(track_frames(model, folder))
for frame, found in frames:
    print(frame.number, len(found), "nuclei, the first numbers:", found.track_ids[:8].tolist())

# %% [markdown]
# ## Look at the first and the last frame

# %%
(first, found), (last, found_last) = frames[0], frames[-1]
shown = [draw_tracks(first.image, found), draw_tracks(last.image, found_last)]
Image.fromarray(np.concatenate(shown, axis=1)).resize((960, 480))

# %% [markdown]
# ## How long was each seen?

# %%
seen = np.concatenate([found.track_ids for _, found in frames])
numbers, counts = np.unique(seen, return_counts=True)
print(f"{len(numbers)} tracks; {np.count_nonzero(counts == len(frames))} of them in all {len(frames)} frames")

# %% [markdown]
# `maskrcnn track` writes an overlay, MOT and MOTS texts, masks and tables; `maskrcnn evaluate --tracks TRUTH RESULT --report DIR` scores them and shows
# when tracks were lost.
