"""Published checkpoints by name: where each lies, whose it is, under which licence, and how to get it once.

A file is downloaded into the cache, or put there by hand, and its digest is checked at every use. The licences are their
publishers' and stay so: this package ships none of the files. A model of its own it does ship, `SHIPPED`.

`pooch` would be the library for this, but it compares whole digests and starts a broken download anew; publishers name the
leading digits alone, and the files have up to 500 MB. So: `requests`, `platformdirs` and `filelock`.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskrcnn import backend

if TYPE_CHECKING:
    import requests
    from rich.progress import Progress, TaskID

MAX_BYTES = 1 << 30  # the largest of the files has half of it
TIMEOUTS = (10.0, 60.0)  # seconds: to connect, and between two pieces
ATTEMPTS = 10  # each goes on where the last one broke, and is the last one if it brought nothing
CHUNK = 1 << 16  # bytes; a connection that breaks loses at most so many
INSECURE = False  # whether http:// is allowed: to the server of the tests, which no certificate names


@dataclass(frozen=True)
class Published:
    """A file of weights that its makers offer for download.

    Attributes:
        url: where it lies; the last part is the file's name, also in the cache.
        digest: `algorithm:digits`. torchvision and MMDetection publish eight leading digits of the SHA-256, detectron2 six of
            the MD5, all in the file's name: enough to find a damaged file, too few against a forger. Whole digests are those
            that independent projects noted for the file, and begin with the published digits where there are any.
        licence: of the weights.
        about: what it is.
        box_ap, mask_ap: on COCO val2017 as published; None where the publisher gives none, and for a backbone.
        size: bytes, where known.
    """

    name: str
    url: str
    digest: str
    licence: str
    about: str
    box_ap: float | None = None
    mask_ap: float | None = None
    size: int | None = None

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def origin(self) -> str:
        """One line for people: what, from where, under which licence."""
        return f"{self.about}, {self.url}, licence: {self.licence}"


def _torchvision(
    name: str,
    file: str,
    digest: str,
    about: str,
    box_ap: float | None = None,
    mask_ap: float | None = None,
    size: int | None = None,
) -> Published:
    """Figures and addresses as in the weights' enumerations of torchvision 0.29, which has the licence of its code alone."""
    licence = "none stated (its code: BSD-3-Clause)"
    url = f"https://download.pytorch.org/models/{file}"
    return Published(name, url, digest, licence, f"torchvision, {about}", box_ap, mask_ap, size)


def _detectron2(name: str, path: str, about: str, box_ap: float, mask_ap: float) -> Published:
    """MODEL_ZOO.md: every model "contains its md5 prefix in its file name", and "CC BY-SA 3.0" for all of them."""
    url = f"https://dl.fbaipublicfiles.com/detectron2/{path}.pkl"
    licence = "CC BY-SA 3.0"
    return Published(name, url, f"md5:{path[-6:]}", licence, f"detectron2, {about}", box_ap, mask_ap)


def _mmdet(name: str, path: str, about: str, box_ap: float, mask_ap: float) -> Published:
    """configs/mask_rcnn/metafile.yml; tools/model_converters/publish_model.py puts the SHA-256's first digits into the name."""
    url = f"https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/{path}.pth"
    return Published(name, url, f"sha256:{path[-8:]}", "Apache-2.0", f"MMDetection, {about}", box_ap, mask_ap)


_FILES = (
    _torchvision(
        "torchvision-v1",
        "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        "sha256:bf2d0c1e",
        "Mask R-CNN, ResNet-50-FPN",
        37.9,
        34.6,
    ),
    _torchvision(
        "torchvision-v2",
        "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        "sha256:73cbd0190fcbe3ba339921fbce2c3a0b6bb9126c9a133c85e43a2a8e060a109e",
        "Mask R-CNN v2, ResNet-50-FPN",
        47.4,
        41.8,
        size=185_828_065,
    ),
    _detectron2(
        "detectron2-r50-1x",
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x/137260431/model_final_a54504",
        "Mask R-CNN, ResNet-50-FPN, 12 epochs",
        38.6,
        35.2,
    ),
    _detectron2(
        "detectron2-r50-3x",
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217",
        "Mask R-CNN, ResNet-50-FPN, 37 epochs",
        41.0,
        37.2,
    ),
    _detectron2(
        "detectron2-r101-3x",
        "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x/138205316/model_final_a3ec72",
        "Mask R-CNN, ResNet-101-FPN, 37 epochs",
        42.9,
        38.6,
    ),
    _detectron2(
        "detectron2-x101-3x",
        "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x/139653917/model_final_2d9806",
        "Mask R-CNN, ResNeXt-101-32x8d-FPN, 37 epochs",
        44.3,
        39.5,
    ),
    _detectron2(
        "detectron2-r50-lsj-400ep",
        "new_baselines/mask_rcnn_R_50_FPN_400ep_LSJ/42019571/model_final_14d201",
        "Mask R-CNN, ResNet-50-FPN, large-scale jitter, 400 epochs",
        47.4,
        42.5,
    ),
    _detectron2(
        "detectron2-r101-lsj-400ep",
        "new_baselines/mask_rcnn_R_101_FPN_400ep_LSJ/42073830/model_final_f96b26",
        "Mask R-CNN, ResNet-101-FPN, large-scale jitter, 400 epochs",
        48.9,
        43.7,
    ),
    _mmdet(
        "mmdet-r50-1x",
        "mask_rcnn_r50_fpn_1x_coco/mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6",
        "Mask R-CNN, ResNet-50-FPN, 12 epochs",
        38.2,
        34.7,
    ),
    _mmdet(
        "mmdet-r50-3x",
        "mask_rcnn_r50_fpn_mstrain-poly_3x_coco/mask_rcnn_r50_fpn_mstrain-poly_3x_coco_20210524_201154-21b550bb",
        "Mask R-CNN, ResNet-50-FPN, several sizes, 36 epochs",
        40.9,
        37.1,
    ),
    _mmdet(
        "mmdet-r101-1x",
        "mask_rcnn_r101_fpn_1x_coco/mask_rcnn_r101_fpn_1x_coco_20200204-1efe0ed5",
        "Mask R-CNN, ResNet-101-FPN, 12 epochs",
        40.0,
        36.1,
    ),
    _mmdet(
        "mmdet-r101-3x",
        "mask_rcnn_r101_fpn_mstrain-poly_3x_coco/mask_rcnn_r101_fpn_mstrain-poly_3x_coco_20210524_200244-5675c317",
        "Mask R-CNN, ResNet-101-FPN, several sizes, 36 epochs",
        42.7,
        38.5,
    ),
    _mmdet(
        "mmdet-x101-32x4d-3x",
        "mask_rcnn_x101_32x4d_fpn_mstrain-poly_3x_coco/mask_rcnn_x101_32x4d_fpn_mstrain-poly_3x_coco_20210524_201410-abcd7859",
        "Mask R-CNN, ResNeXt-101-32x4d-FPN, several sizes, 36 epochs",
        43.6,
        39.0,
    ),
    _mmdet(
        "mmdet-x101-64x4d-3x",
        "mask_rcnn_x101_64x4d_fpn_mstrain-poly_3x_coco/mask_rcnn_x101_64x4d_fpn_mstrain-poly_3x_coco_20210526_120447-c376f129",
        "Mask R-CNN, ResNeXt-101-64x4d-FPN, several sizes, 36 epochs",
        44.5,
        39.7,
    ),
    Published(
        "matterport-coco",
        "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5",
        "md5:e98aaff6f99e307b5e2a8a3ff741a518",  # noted by NVIDIA TensorRT (sampleUffMaskRCNN); the release has none
        "MIT (its repository)",
        "matterport/Mask_RCNN, ResNet-101-FPN",
        34.7,  # on the 5,000 pictures of 2014 called minival
    ),
    _torchvision(
        "torchvision-resnet50",
        "resnet50-0676ba61.pth",
        "sha256:0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        "ResNet-50 on ImageNet, V1 (76.1 % top-1)",
        size=102_530_333,
    ),
    _torchvision(
        "torchvision-resnet50-v2",
        "resnet50-11ad3fa6.pth",
        "sha256:11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
        "ResNet-50 on ImageNet, V2 (80.9 % top-1)",
    ),
    _torchvision(
        "torchvision-resnet101",
        "resnet101-63fe2227.pth",
        "sha256:63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
        "ResNet-101 on ImageNet, V1 (77.4 % top-1)",
    ),
    _torchvision(
        "torchvision-resnet101-v2",
        "resnet101-cd907fc2.pth",
        "sha256:cd907fc2",
        "ResNet-101 on ImageNet, V2 (81.9 % top-1)",
    ),
)
PUBLISHED = {file.name: file for file in _FILES}
SHIPPED = {"nuclei": Path(__file__).parent / "shipped" / "nuclei.keras"}  # whole models; beside each its card, NAME.md


def resolve(name_or_path: str | Path, *, progress: bool = True) -> Path:
    """The file that a name or a path means; a published one is fetched where it is not in the cache yet.

    Raises:
        FileNotFoundError: a path where nothing is.
        ValueError, ConnectionError: as `fetch`.
    """
    if name_or_path in PUBLISHED:
        return fetch(str(name_or_path), progress=progress)
    path = Path(name_or_path)
    if path.exists():
        return model_file(path)
    if name_or_path in SHIPPED:
        return SHIPPED[str(name_or_path)]
    if path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"No weights file at {path}.")
    raise _unknown(str(name_or_path))


def model_file(name_or_path: str | Path) -> Path:
    """The file of a whole model: a path itself, the best one in the folder of a training run, or one of `SHIPPED`.

    Raises:
        FileNotFoundError: nothing there, or a folder without `best.keras` and `last.keras`.
    """
    path = Path(name_or_path)
    if not path.exists():
        path = SHIPPED.get(str(path), path)
    if not path.exists():
        raise FileNotFoundError(f"No model file at {path}; a model that comes with the package is {', '.join(SHIPPED)}.")
    if not path.is_dir():
        return path
    found = [path / name for name in ("best.keras", "last.keras") if (path / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{path} holds neither best.keras nor last.keras; is it the folder of a training run?")
    return found[0]


def fetch(name: str, *, progress: bool = True, cache: str | Path | None = None) -> Path:
    """The cached file of a published checkpoint, downloaded on first use.

    A download that broke off goes on where it stopped, also in a later call. Only a whole file whose digest is right gets the
    final name. Processes that want the same file wait for the one that downloads it.

    Args:
        name: one of `PUBLISHED`.
        progress: show a bar, and the licence, on stderr while downloading.
        cache: folder of the files; where None, `weights` in the folder that the variable MASKRCNN_HOME names, else in the
            platform's folder for caches.

    Raises:
        ValueError: an unknown name, naming the nearest; a file of another length or digest than the published one.
        ConnectionError: the file is not there and cannot be downloaded; one line that says what to put where.
    """
    from filelock import FileLock

    if name not in PUBLISHED:
        raise _unknown(name)
    file = PUBLISHED[name]
    path = (cache_folder() if cache is None else Path(cache)) / file.file_name
    if path.is_file():  # of an earlier call, or put there by hand
        _check(file, path, "Delete it, and it is downloaded anew.")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.is_file():  # another process may have brought it meanwhile
            _download(file, path, progress=progress)
    return path


def cache_folder() -> Path:
    """Where published files are kept."""
    return backend.cache_folder() / "weights"


def _unknown(name: str) -> ValueError:
    names = [*SHIPPED, *PUBLISHED]
    nearest = difflib.get_close_matches(name, names, n=3) or names
    return ValueError(f"No file and no published checkpoint is called {name!r}; published are {', '.join(nearest)}.")


def _check(file: Published, path: Path, advice: str) -> None:
    """Raises ValueError where the file's digest is not the published one."""
    algorithm, _, digits = file.digest.partition(":")
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if not found.startswith(digits):
        raise ValueError(
            f"{path} is not {file.name}: its {algorithm} is {found[: len(digits)]}, published is {digits}. {advice}"
        )


def _download(file: Published, path: Path, *, progress: bool) -> None:
    import requests
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    part = path.with_name(path.name + ".part")
    console = Console(stderr=True, quiet=not progress, highlight=False, soft_wrap=True)
    console.print(f"Downloading {file.origin}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with requests.Session() as session, Progress(*columns, console=console, disable=not progress) as bar:
        if not INSECURE:
            del session.adapters["http://"]  # then no redirection leads there either
        session.headers["Accept-Encoding"] = "identity"  # so that lengths and ranges count the file's own bytes
        task = bar.add_task(file.file_name, total=file.size)
        for attempt in range(1, ATTEMPTS + 1):
            before = _length(part)
            try:
                _receive(session, file, part, bar, task)
                break
            except requests.RequestException as error:
                if attempt == ATTEMPTS or _length(part) <= before:
                    status = "" if error.response is None else f" {error.response.status_code}"
                    raise ConnectionError(
                        f"{file.file_name} could not be downloaded ({type(error).__name__}{status}): "
                        f"get it from {file.url} and put it at {path}, where it is then found."
                    ) from error
    try:
        _check(file, part, "It was removed; download it again.")
    except ValueError:
        part.unlink()
        raise
    os.replace(part, path)


def _receive(session: requests.Session, file: Published, part: Path, bar: Progress, task: TaskID) -> None:
    """Completes `part` in one request, or raises what broke it."""
    start = _length(part)
    with session.get(file.url, headers={"Range": f"bytes={start}-"} if start else {}, stream=True, timeout=TIMEOUTS) as answer:
        served = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        resumed = answer.status_code == 206 and served is not None and int(served[1]) == start
        if start and not resumed and answer.status_code in (206, 416):  # what is there is not a piece of the server's file
            part.unlink()
            return _receive(session, file, part, bar, task)
        answer.raise_for_status()
        if resumed and served is not None:
            total = int(served[2])
        else:  # the first request, or a server that knows no ranges and sends all of it
            start, total = 0, int(answer.headers.get("Content-Length", 0)) or file.size or MAX_BYTES
        if total > MAX_BYTES or file.size not in (None, total):
            expected = f"{file.size:,}" if file.size else f"at most {MAX_BYTES:,}"
            raise ValueError(f"{file.url} has {total:,} bytes; {file.name} has {expected}, so nothing was downloaded.")
        bar.update(task, completed=start, total=total)
        with open(part, "ab" if start else "wb") as out:
            for chunk in answer.iter_content(CHUNK):
                out.write(chunk)
                bar.advance(task, len(chunk))
                if out.tell() > total:
                    raise ValueError(f"{file.url} sends more than the {total:,} bytes that it should have.")
    return None


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
