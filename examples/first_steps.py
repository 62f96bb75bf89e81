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
# # First steps with your own images
#
# From a folder of images and annotations to a model and its report. Here the images are drawn, so that the notebook needs nothing; for
# your own, change the two paths. Formats that are read: COCO, VIA, YOLO, LabelMe, Pascal VOC, CVAT, label maps and more (docs/data.md).

# %%
import tempfile
from pathlib import Path

import maskrcnn
from maskrcnn.data.shapes import make_shapes
from maskrcnn.verbs.preview import preview

folder = Path(tempfile.mkdtemp())
train_json, val_json = make_shapes(folder, num_train=4, num_val=2, size=(64, 64))

# %% [markdown]
# ## Look at the data first
#
# Faults are named, repaired where that is safe, and left out where it is not.

# %%
data, val = maskrcnn.load_dataset(train_json), maskrcnn.load_dataset(val_json)
print(data.summary())

# %% [markdown]
# What the model will see in training, with the ground truth drawn in:

# %%
from PIL import Image

Image.open(preview(data, folder / "sheet.png", augment="photos", num_images=4))

# %% [markdown]
# ## Train
#
# A small network for one epoch, so that the notebook is done soon; it learns little. For your own data leave out the numbers of the
# network and `init=None`, and give `epochs=20`: it then starts from a backbone trained on ImageNet.

# %%
model = maskrcnn.train(
    data,
    val,
    folder / "run",
    epochs=1,
    init=None,
    image_size=64,
    fpn__channels=16,
    box_head__hidden=32,
    mask_head__channels=16,
    roi_sampler__num_sampled=32,
    rpn__train_top_k=100,
    rpn__train_proposals=100,
    verbose=0,
)

# %% [markdown]
# The folder holds the best model, the history, and `report.html`: curves, images and hints.

# %%
sorted(path.name for path in (folder / "run").iterdir() if not path.name.startswith("."))

# %% [markdown]
# ## Score it, and see where it fails

# %%
scores = maskrcnn.evaluate(model, val)
print(f"mask AP {scores['mask']['AP']:.3f}, AP50 {scores['mask']['AP50']:.3f}")
print(scores.report(folder / "report").name)

# %% [markdown]
# ## Find objects in an image

# %%
(found,) = maskrcnn.predict(val.samples[0].path, model=folder / "run", score=0.05)
found
