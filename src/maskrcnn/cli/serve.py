"""`maskrcnn serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from maskrcnn.cli.console import tell
from maskrcnn.cli.options import EngineName, parse_score

LIMITS: dict[str, Any] = {"rich_help_panel": "Limits"}
ACCESS: dict[str, Any] = {"rich_help_panel": "Access and storage"}


def serve(
    model: Annotated[
        str, typer.Option("--model", metavar="RUN|FILE|NAME|EXPORT", envvar="MASKRCNN_MODEL", help="As in `predict`.")
    ] = "nuclei",
    host: Annotated[
        str, typer.Option("--host", envvar="MASKRCNN_HOST", help="Address to listen on; 0.0.0.0 for all interfaces.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", envvar="MASKRCNN_PORT", min=0, max=65535, help="Port to listen on; 0 for any free port.")
    ] = 8000,
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            metavar="DIR",
            envvar="MASKRCNN_PROJECT",
            file_okay=False,
            help="Folder of a project: images that are corrected on the page.",
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            envvar="MASKRCNN_ENGINE",
            help="As in `predict`. auto (default): start on Keras, and switch to OpenVINO or ONNX Runtime once the export is "
            "prepared, if that is faster here. keras: stay on Keras.",
        ),
    ] = "auto",
    score: Annotated[
        str,
        typer.Option(
            "--score",
            metavar="X|auto",
            envvar="MASKRCNN_SCORE",
            help="Lowest score of a detection; auto: each class's best threshold, stored by evaluate --save-scores.",
        ),
    ] = "0.5",
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", envvar="MASKRCNN_BATCH_SIZE", min=1, help="Images processed by the model together."),
    ] = 4,
    wait_ms: Annotated[
        float,
        typer.Option("--wait-ms", envvar="MASKRCNN_WAIT_MS", min=0.0, help="Milliseconds that an image waits for others."),
    ] = 5.0,
    workers: Annotated[
        int, typer.Option("--workers", envvar="MASKRCNN_WORKERS", min=1, help="Number of processes, each with its own model.")
    ] = 1,
    queue: Annotated[
        int,
        typer.Option(
            "--queue", envvar="MASKRCNN_QUEUE", min=1, help="Images in the queue; further requests get 503.", **LIMITS
        ),
    ] = 64,
    max_megabytes: Annotated[
        float,
        typer.Option(
            "--max-megabytes", envvar="MASKRCNN_MAX_MEGABYTES", min=0.001, help="Maximum size of a request.", **LIMITS
        ),
    ] = 64,
    max_megapixels: Annotated[
        float,
        typer.Option(
            "--max-megapixels", envvar="MASKRCNN_MAX_MEGAPIXELS", min=0.001, help="Maximum size of an image.", **LIMITS
        ),
    ] = 64,
    max_images: Annotated[
        int,
        typer.Option(
            "--max-images", envvar="MASKRCNN_MAX_IMAGES", min=1, help="Maximum number of images in a request.", **LIMITS
        ),
    ] = 16,
    timeout: Annotated[
        float, typer.Option("--timeout", envvar="MASKRCNN_TIMEOUT", min=0.1, help="Seconds for a response; then 504.", **LIMITS)
    ] = 60,
    grace: Annotated[
        float, typer.Option("--grace", envvar="MASKRCNN_GRACE", min=0.1, help="Seconds to shut down after SIGTERM.", **LIMITS)
    ] = 25,
    token: Annotated[
        str | None, typer.Option("--token", envvar="MASKRCNN_TOKEN", help="Require Authorization: Bearer TOKEN.", **ACCESS)
    ] = None,
    origins: Annotated[
        list[str] | None,
        typer.Option(
            "--origin",
            metavar="URL",
            envvar="MASKRCNN_ORIGIN",
            help="Another web page that may send requests (CORS). Repeat for more; separate by spaces in the variable.",
            **ACCESS,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            metavar="DIR",
            envvar="MASKRCNN_KEEP",
            exists=True,
            file_okay=False,
            help="Folder to keep uploads in.",
            **ACCESS,
        ),
    ] = None,
    label_studio: Annotated[
        str | None,
        typer.Option(
            "--label-studio",
            metavar="URL",
            envvar="MASKRCNN_LABEL_STUDIO",
            help="Label Studio from which images may be fetched.",
            **ACCESS,
        ),
    ] = None,
    label_studio_token: Annotated[
        str | None,
        typer.Option("--label-studio-token", envvar="MASKRCNN_LABEL_STUDIO_TOKEN", help="Its access token.", **ACCESS),
    ] = None,
) -> None:
    """Serve a model over HTTP, with a page to try it, correct its results, and train it further.

    maskrcnn serve --model runs/first

    curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/detect
    """
    from maskrcnn.serving.settings import ServerSettings
    from maskrcnn.verbs.serve import serve as run_server

    settings = ServerSettings(
        model_name=Path(model).stem,
        score=parse_score(score),
        batch_size=batch_size,
        wait_ms=wait_ms,
        queue=queue,
        max_bytes=round(max_megabytes * 2**20),
        max_pixels=round(max_megapixels * 1e6),
        max_images=max_images,
        timeout=timeout,
        grace=grace,
        token=token,
        origins=tuple(origins or ()),
        keep=keep,
        project=project,
        label_studio=label_studio,
        label_studio_token=label_studio_token,
    )
    run_server(model, host=host, port=port, workers=workers, engine=engine, settings=settings, log=tell)
    from maskrcnn.serving.running import leave  # only where the extra is installed

    leave()
