"""Every number of a server, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskrcnn.inference.whole import check_score


@dataclass(frozen=True)
class ServerSettings:
    """How a server behaves. The command's options and the `MASKRCNN_…` variables have the same names.

    Attributes:
        model_name: what the Open Inference Protocol calls the model.
        score: least score of what is answered, where a request does not say another; `"auto"`: of each class the best that the
            model holds.
        batch_size: images that go through the model together, at most.
        wait_ms: how long an image waits for others of its frame, in milliseconds.
        queue: images that are between arrival and answer, at most. One more is answered 503.
        max_bytes: of one request's body.
        max_pixels: of one image, after decoding.
        max_images: in one request.
        max_frames: of one video.
        timeout: seconds from a request's arrival to its answer; streamed answers may go on.
        grace: seconds that running requests have after SIGTERM.
        readers: threads that decode images, and as many that write answers.
        token: what a request has to bring as `Authorization: Bearer …`; none where None.
        origins: web pages of these origins may ask too (CORS).
        keep: a folder in which uploads are kept; they stay in memory alone where None.
        project: a folder of images that people correct on the page; none where None.
        label_studio: address of a Label Studio whose images may be fetched; none where None.
        label_studio_token: what that Label Studio wants to see.
    """

    model_name: str = "maskrcnn"
    score: float | Literal["auto"] = 0.5
    batch_size: int = 4  # on processors little is won by more; GPUs are filled by 8 to 16
    wait_ms: float = 5.0  # a fraction of what the smallest model takes
    queue: int = 64  # some ten seconds of work for the small model on two cores
    max_bytes: int = 64 << 20
    max_pixels: int = 64_000_000  # a full-frame camera's 61 megapixels
    max_images: int = 16
    max_frames: int = 10_000
    timeout: float = 60.0  # as most proxies wait
    grace: float = 25.0  # Kubernetes kills after 30
    readers: int = 2
    token: str | None = None
    origins: tuple[str, ...] = ()
    keep: Path | None = None
    project: Path | None = None
    label_studio: str | None = None
    label_studio_token: str | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "queue", "max_bytes", "max_pixels", "max_images", "max_frames", "readers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1; received {getattr(self, name)}.")
        for name in ("timeout", "grace"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is a number of seconds above 0; received {getattr(self, name)}.")
        check_score(self.score)
        if self.wait_ms < 0:
            raise ValueError(f"wait_ms is at least 0; received {self.wait_ms}.")
        if self.token is not None and len(self.token) < MIN_TOKEN:
            raise ValueError(
                f"A token has at least {MIN_TOKEN} characters, so that it cannot be guessed; received {len(self.token)}."
            )


MIN_TOKEN = 16
