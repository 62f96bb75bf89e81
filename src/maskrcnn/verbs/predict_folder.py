"""Predict into a folder: all that `maskrcnn predict` does, images in tiles and files of every format among it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.images.files import search_images
from maskrcnn.images.opening import image_size, is_slide, survey
from maskrcnn.images.remote import bring
from maskrcnn.inference.detections import Detections
from maskrcnn.inference.tiles import num_tiles, shrinkage
from maskrcnn.inference.whole import least_scores
from maskrcnn.locks import owned
from maskrcnn.results.earlier import set_aside
from maskrcnn.results.large import LARGE_FORMATS
from maskrcnn.results.names import Names, stem_of
from maskrcnn.structures import Detector, Finder
from maskrcnn.verbs.predict import PredictConfig, predict_large, write_predictions

INPUTS = "inputs"  # folder of images that were no files
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts")


class Job(NamedTuple):
    """What a prediction is going to do, known before a model is loaded."""

    config: PredictConfig
    whole: list[Path]  # images that the model sees as they are
    num_planes: int  # of those
    large: list[Path]  # images that it sees in tiles
    image_ids: dict[str, int]  # of a data set, by path
    categories: tuple[Category, ...] = ()  # of a data set
    left_out: str = ""  # what folders hold that is no image
    sizes: dict[Path, tuple[int, int] | None] = {}  # noqa: RUF012 - (height, width) of `whole`, nobody changes it
    failures: tuple[tuple[Path, str], ...] = ()  # files that cannot be read, each with the reason

    def categories_for(self, model_config: ModelConfig) -> tuple[Category, ...]:
        """What labels mean in the rows: the model's classes, with the ids that a data set gives to classes of those names."""
        ids = {category.name: category.id for category in self.categories}
        if not all(category.name in ids for category in model_config.categories):
            return model_config.categories
        return tuple(replace(category, id=ids[category.name]) for category in model_config.categories)


class Watcher(Protocol):
    """Whoever shows how far a prediction is."""

    def begin(self, total: int, about: str = "") -> None:
        """A part of it begins, of so many steps; a large image is a part of its own, of which `about` says how it is found."""

    def advance(self) -> None:
        """A step is done."""


class Predicted(NamedTuple):
    """What came of a prediction."""

    done: int  # images, planes counted one by one
    failures: list[tuple[Path, str]]  # files that could not be read, or not be saved as asked, each with the reason
    earlier: Path | None  # where results of an earlier prediction in the same folder are now


def plan_prediction(
    inputs: Iterable[str | Path],
    config: PredictConfig | None = None,
    *,
    data: Dataset | None = None,
    out: str | Path = ".",
    log: Callable[[str], None] = print,
) -> Job:
    """Looks at inputs and settings.

    Args:
        inputs: files, folders and globs of images, addresses that begin with https://, and `-` for standard input; the data
            set's images where there are none.
        config: the defaults where None.
        data: whose image ids, and category ids by name, the rows carry.
        out: folder of the results; images that are no files yet are kept in its folder `inputs`.
        log: told what those are called.

    Raises:
        ValueError: what is no image, such as a video; formats that cannot be; settings that images in tiles do not have.
        FileNotFoundError: a file named in `inputs` is not there, or nothing in them is an image.
    """
    config, inputs = config or PredictConfig(), list(inputs)
    if data is not None and not inputs:
        inputs = [sample.path for sample in data.samples]
    inputs = bring(inputs, Path(out) / INPUTS, log)
    images, others = searched = search_images(inputs, is_slide=is_slide)
    for path in images:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            raise ValueError(f"{path} is a video; follow its objects with maskrcnn track {path}.")
    surveys = {path: survey(path, tile=config.tile, axis=config.axis) for path in images}
    readable = {path: found for path, found in surveys.items() if found.problem is None}
    large = [path for path, found in readable.items() if found.is_for_tiles]
    whole = [path for path, found in readable.items() if not found.is_for_tiles]
    job = Job(
        config,
        whole,
        sum(surveys[path].num_planes for path in whole),
        large,
        {},
        left_out=f"{searched.said_of_others()}." if others else "",
        sizes={path: surveys[path].size for path in whole},
        failures=tuple((path, found.problem) for path, found in surveys.items() if found.problem is not None),
    )
    if large and (config.measurements or config.window is not None or not set(config.save) <= set(LARGE_FORMATS)):
        raise ValueError(
            f"{large[0]} is found in tiles: leave out --measure and --window, and save {', '.join(LARGE_FORMATS)}."
        )
    if whole:
        config.check_whole()
    if data is None:
        return job
    by_place = {Path(sample.path).resolve(): sample.image_id for sample in data.samples}
    missing = [path for path in images if path.resolve() not in by_place]
    if missing:
        raise ValueError(f"{missing[0]} is no image of the data set {data.name}; leave it out, or predict it without --data.")
    ids = {str(path): by_place[path.resolve()] for path in images}
    return job._replace(image_ids=ids, categories=tuple(data.categories))


def predict_folder(
    model: Detector | Finder,
    inputs: Iterable[str | Path] | Job,
    out: str | Path,
    *,
    data: Dataset | None = None,
    watcher: Watcher | None = None,
    log: Callable[[str], None] = print,
    **settings: Any,
) -> Predicted:
    """Finds the objects of images and writes them into a folder: all that `maskrcnn predict` does.

    The folder gets `predictions.json` and `images.json`, and for each image an overlay and a label map, or what else is asked
    for; see `PredictionWriter`, and `LargeWriter` for images in tiles. Results of an earlier prediction go to `earlier/`.

    Example:
        predicted = predict_folder(model, ["folder", "more/*.tif"], "found", score=0.7, save=["geojson"])

    Args:
        model: a `MaskRCNN`, or an exported model on its engine.
        inputs: as of `plan_prediction`, or what that made of them.
        out: folder, made where it is not there; one process at a time has it.
        data: whose image ids, and category ids by name, the rows carry.
        watcher: shows how far it is.
        log: told what is left out, which images are seen too small, and what becomes of an earlier prediction.
        **settings: fields of `PredictConfig`.

    Raises:
        ValueError, FileNotFoundError: as `plan_prediction`.
        FolderInUseError: another process writes into the folder.
        KeyboardInterrupt: it was stopped; its note says what is kept.
    """
    job = inputs
    if not isinstance(job, Job):
        job = plan_prediction(job, PredictConfig(**settings), data=data, out=out, log=log)
    least_scores(job.config.score, model.config)  # refused before anything is moved or written
    out, names, done = Path(out), Names(), 0
    failures = list(job.failures)

    def on_image(path: Path, result: Detections | Exception) -> None:
        nonlocal done
        done += not isinstance(result, Exception)
        if watcher is not None:
            watcher.advance()

    if job.left_out:
        log(job.left_out)
    if job.config.tile is None:
        _tell_of_long_images(job.sizes, model.config, log)
    with owned(out, "a prediction", log):
        earlier = set_aside(out)
        if earlier is not None:
            log(f"Results of an earlier prediction in {out} are now in {earlier}.")
        try:
            for path in job.large:
                failure = _one_large(model, path, out, names, job, watcher)
                failures += [(path, failure)] if failure else []
                done += failure is None
            if job.whole:
                if watcher is not None:
                    watcher.begin(job.num_planes)
                failures += write_predictions(
                    model,
                    job.whole,
                    out,
                    job.config,
                    names=names,
                    image_ids=job.image_ids,
                    categories=job.categories_for(model.config),
                    on_image=on_image,
                    log=log,
                )
        except KeyboardInterrupt as stop:
            stop.add_note(f"Stopped; {done} images are done, and their results are whole in {out}.")
            raise
    return Predicted(done, failures, earlier)


def _tell_of_long_images(sizes: Mapping[Path, tuple[int, int] | None], config: ModelConfig, log: Callable[[str], None]) -> None:
    """Says of which images the model sees so little that tiles are better."""
    long = {path: size for path, size in sizes.items() if size is not None and shrinkage(size, config.image)}
    if long:
        path, (height, width) = next(iter(long.items()))
        factor = shrinkage((height, width), config.image) or 1.0
        others = f" ({len(long) - 1} others are as long)" if len(long) > 1 else ""
        log(
            f"{path}: {width} × {height} pixels are seen at 1/{factor:.1f} of their size, where small objects are "
            f"lost{others}; --tile {min(height, width)} finds them in tiles."
        )


def _one_large(model: Detector | Finder, path: Path, out: Path, names: Names, job: Job, watcher: Watcher | None) -> str | None:
    """Finds an image in tiles; what was wrong with it, if something was."""
    config = job.config
    where: dict[str, Any] = {"tile": config.tile or None, "overlap": config.overlap, "scale": config.scale}
    try:
        height, width = image_size(path)
        count, side = num_tiles(model.config, (height, width), **where)
        if watcher is not None:
            chosen = "" if config.tile else "; --tile N sets their side, --tile 0 sees an image as a whole"
            watcher.begin(count, f"{path}: {width} × {height} pixels, found in {count} tiles of {side}{chosen}")
        predict_large(
            model,
            path,
            out,
            name=names.new(stem_of(path)),
            save=config.save,
            score=config.score,
            batch_size=config.batch_size,
            on_tile=None if watcher is None else lambda _: watcher.advance(),
            **where,
        )
    except (ValueError, OSError) as error:
        return str(error)
    return None
