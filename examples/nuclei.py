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
# # Cell nuclei
#
# The model that comes with the package finds nuclei in fluorescence and in stained tissue. What it finds can be looked at, filtered,
# measured and saved.

# %%
import tempfile
from pathlib import Path

import maskrcnn
from maskrcnn.weights.published import SHIPPED

folder = Path(tempfile.mkdtemp())
path = SHIPPED["nuclei"].with_suffix(".png")  # an image that it did not learn from
(found,) = maskrcnn.predict(path, model="nuclei")
found

# %% [markdown]
# ## One object after the other
#
# Boxes and masks are in pixels of the image.

# %%
for nucleus in list(found)[:5]:
    print(nucleus, "area", nucleus.area, "mask", nucleus.mask.shape, "outline of", len(nucleus.polygon[0]), "points")

# %% [markdown]
# ## Those that are wanted

# %%
sure = found.filter(score=0.9, min_area=50)
print(f"{len(sure)} of {len(found)} are sure and not small")
sure.plot(scores=False)

# %% [markdown]
# ## Numbers

# %%
areas = sure.areas()
print(f"mean area {areas.mean():.0f} pixels, from {areas.min()} to {areas.max()}")
print(sure.to_coco()[0]["bbox"])

# %% [markdown]
# ## Files
#
# The suffix says what is written: an image, rows for COCO, outlines for QuPath. `maskrcnn predict` does it for folders, and knows more
# formats.

# %%
for name in ("nuclei.png", "nuclei.json", "nuclei.geojson"):
    print(sure.save(folder / name).name, (folder / name).stat().st_size, "bytes")
