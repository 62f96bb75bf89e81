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
# # What a model does, and why it misses an object
#
# Every stage of one image's way through the network, and for each object of the ground truth the stage that lost it.

# %%
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import maskrcnn
from maskrcnn.verbs.inspect import inspect_image
from maskrcnn.weights.published import SHIPPED

path = SHIPPED["nuclei"].with_suffix(".png")
model = maskrcnn.load_model("nuclei")
model

# %% [markdown]
# A rough ground truth, for want of a better one: what is brighter than Otsu's threshold, each separate piece an object. Where nuclei touch it
# is wrong, so that there is something to miss. For your own images take the annotations: `maskrcnn.load_dataset("val.json")`.

# %%
image = np.asarray(Image.open(path).convert("RGB"))
_, bright = cv2.threshold(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
_, pieces = cv2.connectedComponents(bright)
truth = maskrcnn.Dataset.from_arrays([image], [pieces], classes=["nucleus"], labels=[["nucleus"] * int(pieces.max())])
print(truth.summary())

# %% [markdown]
# ## Stage by stage

# %%
inspection = model.inspect(image, truth.samples[0])
inspection

# %%
inspection.anchors.plot(side=400)

# %%
inspection.before_nms.plot(side=400)

# %%
inspection.proposals.plot(side=400)

# %%
inspection.plot()

# %% [markdown]
# ## Why was this object missed?

# %%
explanations = [inspection.explain(row) for row in range(len(truth.samples[0].labels))]
missed = [explanation for explanation in explanations if explanation.lost_at is not None]
print(f"{len(missed)} of {len(explanations)} were missed")
for explanation in missed[:3]:
    print(explanation)

# %% [markdown]
# ## All of it on one page
#
# `maskrcnn inspect IMAGE --truth DATA` writes the same from the command line.

# %%
page = Path(tempfile.mkdtemp()) / "inspection.html"
inspected = inspect_image(model, path, page, truth=truth.samples[0])
print(page.name, page.stat().st_size, "bytes")
