"""`maskrcnn predict`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from maskrcnn.cli.console import errors, progress, tell
from maskrcnn.cli.models import load_to_run
from maskrcnn.cli.options import (
    LARGE,
    MEDICAL,
    MODEL_OPTION,
    BatchOption,
    parse_window,
)

if TYPE_CHECKING:
    from maskrcnn.config.model import ModelConfig
    from maskrcnn.results.names import Names
    from maskrcnn.structures import Detections, Detector


def predict(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Images, folders of images, or quoted globs.")],
    model: Annotated[Path | None, MODEL_OPTION] = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for predictions.json, overlays and label maps."),
    ] = Path("predictions"),
    score: Annotated[float, typer.Option("--score", metavar="X", min=0.0, max=1.0, help="The least score that counts.")] = 0.5,
    batch_size: BatchOption = 1,
    engine: Annotated[
        Literal[
            "keras",
            "litert",
            "onnxruntime",
            "openvino",
            "saved-model",
            "torch",
        ]
        | None,
        typer.Option("--engine", help="What runs the model. Default: what it is for."),
    ] = None,
    save: Annotated[
        list[str] | None,
        typer.Option(
            "--save",
            metavar="FORMAT",
            help="What to write for each image: overlay, labels (both by default), geojson, ome-tiff, nifti or dicom-seg. "
            "Repeat for more.",
        ),
    ] = None,
    measurements: Annotated[
        bool, typer.Option("--measure", help="Measure every object: measurements.csv and measurements.parquet.")
    ] = False,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            metavar="CENTRE,WIDTH|N",
            help="Which values of DICOM, NIfTI and deep TIFF the model is shown: 40,400; or the N-th window of a DICOM file.",
            **MEDICAL,
        ),
    ] = None,
    axis: Annotated[
        Literal["axial", "coronal", "sagittal"],
        typer.Option("--axis", metavar="axial|coronal|sagittal", help="How NIfTI volumes are sliced.", **MEDICAL),
    ] = "axial",
    keep_patient: Annotated[
        bool,
        typer.Option("--keep-patient", help="Let DICOM segmentations carry the patient's data of their source.", **MEDICAL),
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            metavar="N",
            min=0,
            help="Find in tiles of N pixels what is larger than that, each seen as one image. Default: the model's short "
            "side, for slides, zarr and images from 100 million pixels on; 0: never.",
            **LARGE,
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", metavar="N", min=1, help="Pixels that tiles share. Default: an eighth of a tile.", **LARGE),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", metavar="X", help="How much a tile is enlarged, not to the model's short side.", **LARGE),
    ] = None,
) -> None:
    """Find the objects in images: predictions.json, and for each image an overlay and a label map.

    maskrcnn predict --model runs/first photo.jpg folder/ "more/*.tif" --out found

    Without --model it looks for cell nuclei, with the model that comes with the package.

    An image that can't be read is reported and skipped; the exit code is then 1.
    """
    from maskrcnn.images.files import search_images
    from maskrcnn.images.opening import is_slide, survey
    from maskrcnn.results.names import Names
    from maskrcnn.weights.published import SHIPPED

    shown, names = parse_window(window), Names()
    images, others = found = search_images(inputs, is_slide=is_slide)
    if others:
        tell(f"{found.said_of_others()}.")
    surveys = {path: survey(path, tile=tile, axis=axis) for path in images}
    large = [path for path, found in surveys.items() if found.is_for_tiles]
    images = [path for path, found in surveys.items() if not found.is_for_tiles]
    if large and (measurements or shown is not None or not set(save or ()) <= {"overlay", "labels", "geojson", "zarr"}):
        raise ValueError(
            f"{large[0]} is found in tiles: leave out --measure and --window, and save overlay, labels, geojson or zarr."
        )
    loaded = load_to_run(model or SHIPPED["nuclei"], engine)
    if model is None:
        tell("Without --model: cell nuclei, found by the model that comes with the package.")

    if tile is None:
        _tell_of_long_images({path: surveys[path].size for path in images}, loaded.config)

    from maskrcnn.verbs.predict import predict_files

    options = {"tile": tile or None, "overlap": overlap, "scale": scale, "score": score, "batch_size": batch_size}
    done, failures = _predict_large(loaded, large, out, names, save=save, **options)
    if images:
        with progress("Predicting", sum(surveys[path].num_planes for path in images)) as advance:

            def on_image(path: Path, result: Detections | Exception) -> None:
                nonlocal done
                done += not isinstance(result, Exception)
                advance()

            failures += predict_files(
                loaded,
                images,
                out,
                score=score,
                batch_size=batch_size,
                save=save or ("overlay", "labels"),
                measurements=measurements,
                window=shown,
                axis=axis,
                keep_patient=keep_patient,
                names=names,
                on_image=on_image,
            )
    for _, message in failures:
        errors.print(f"[bold red]Skipped:[/] {escape(message)}")
    tell(f"{done} of {done + len(failures)} images done" + (f"; the results are in {out}" if out.is_dir() else ""))
    if failures:
        raise typer.Exit(1)


def _tell_of_long_images(sizes: dict[Path, tuple[int, int] | None], config: ModelConfig) -> None:
    """Says of which images the model sees so little that tiles are better."""
    from maskrcnn.inference.tiles import shrinkage

    long = {path: size for path, size in sizes.items() if size is not None and shrinkage(size, config.image)}
    if long:
        path, (height, width) = next(iter(long.items()))
        factor = shrinkage((height, width), config.image) or 1.0
        others = f" ({len(long) - 1} others are as long)" if len(long) > 1 else ""
        tell(
            f"{path}: {width} × {height} pixels are seen at 1/{factor:.1f} of their size, where small objects are "
            f"lost{others}; --tile {min(height, width)} finds them in tiles."
        )


def _advance_by_one(advance: Callable[..., None], _: Any) -> None:
    advance()


def _predict_large(
    model: Detector, paths: Sequence[Path], out: Path, names: Names, *, save: Sequence[str] | None, **options: Any
) -> tuple[int, list[tuple[Path, str]]]:
    """How many large images are done, and the others with what was wrong."""
    from maskrcnn.images.opening import image_size
    from maskrcnn.inference.tiles import num_tiles
    from maskrcnn.results.names import stem_of
    from maskrcnn.verbs.predict import predict_large

    failures: list[tuple[Path, str]] = []
    where = {name: options[name] for name in ("tile", "overlap", "scale")}
    for path in paths:
        try:
            height, width = image_size(path)
            count, side = num_tiles(model.config, (height, width), **where)
            chosen = "" if options["tile"] else "; --tile N sets their side, --tile 0 sees an image as a whole"
            tell(f"{path}: {width} × {height} pixels, found in {count} tiles of {side}{chosen}")
            with progress("Predicting", count) as advance:
                predict_large(
                    model,
                    path,
                    out,
                    name=names.new(stem_of(path)),
                    save=save or ("overlay", "labels"),
                    on_tile=partial(_advance_by_one, advance),
                    **options,
                )
        except (ValueError, OSError) as error:
            failures.append((path, str(error)))
    return len(paths) - len(failures), failures
