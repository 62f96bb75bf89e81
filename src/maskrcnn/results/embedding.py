"""Images inside of HTML, so that a page or a notebook needs no file beside it."""

from __future__ import annotations

import base64
import io

from PIL import Image

_QUALITY = 82  # of JPEG


def data_uri(image: Image.Image) -> str:
    """An image as the `src` of an `img`."""
    file = io.BytesIO()
    image.convert("RGB").save(file, format="JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
