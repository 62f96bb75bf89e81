"""Evaluate: scores that can be looked into, and two results compared."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from maskrcnn.annotations.place import read_json
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset, open_dataset
from maskrcnn.inference import scoring
from maskrcnn.metrics.analysis import analyse
from maskrcnn.metrics.bootstrap import compare as compare_evaluations
from maskrcnn.metrics.curves import USUAL_SCORE, best_scores
from maskrcnn.metrics.lvis import check_ground_truth, evaluate_lvis
from maskrcnn.metrics.rows import Evaluation, RowCollector, collect_rows
from maskrcnn.reports.comparison import write_comparison
from maskrcnn.reports.error_images import read_rgb
from maskrcnn.reports.errors import write_error_report
from maskrcnn.results.json_rows import JsonRows
from maskrcnn.structures import Detector, Sample
from maskrcnn.weights.finding import model_file
from maskrcnn.weights.models import read_config, save_best_scores
from maskrcnn.weights.published import SHIPPED


class Scores(dict[str, Any]):
    """The scores of `evaluate`, a dict, with the results that they rest on.

    Attributes:
        evaluation: results and ground truth.
        title: what was evaluated on what.
    """

    def __init__(self, scores: Mapping[str, Any], evaluation: Evaluation, title: str) -> None:
        super().__init__(scores)
        self.evaluation = evaluation
        self.title = title

    @cached_property
    def analysis(self) -> dict[str, Any]:
        """Every number of the error report, see `metrics.analysis.analyse`."""
        return analyse(self.evaluation)

    def lvis(self, ground_truth: str | os.PathLike[str]) -> dict[str, dict[str, float | None]]:
        """The scores of these results as LVIS counts them, see `metrics.lvis.evaluate_lvis`.

        Args:
            ground_truth: LVIS's JSON, as which the data set was read.

        Raises:
            ValueError: a file that cannot be read, or is not LVIS's.
        """
        images = {sample.image_id for sample in self.evaluation.samples}
        return evaluate_lvis(read_json(Path(ground_truth)), self.evaluation.as_json(), images=images)

    def best_scores(self) -> dict[str, float]:
        """The least score of each class that gives the best F1 on this data, at mask IoU 0.5."""
        names = [category.name for category in self.evaluation.categories]
        return dict(zip(names, best_scores(self.evaluation).tolist()))

    def save_best_scores(self, model: str | Path) -> Path:
        """Writes `best_scores` into the file of the model, where `predict(score="auto")` finds them.

        Its weights stay as they are. Classes that the data does not have, or in which nothing is found, get 0.5. A model that
        was exported before does not know of it.

        Args:
            model: the run's folder or `.keras` file that was evaluated.

        Returns:
            The file that was changed.

        Raises:
            ValueError: a model that comes with the package, or one of other classes.
        """
        path = check_own_model(model)
        known = read_config(path)["config"]["config"]["categories"]
        names, best = {category["name"] for category in known}, self.best_scores()
        if not names & best.keys():
            raise ValueError(f"{path} has none of the classes that were evaluated: {', '.join(list(best)[:5])}.")
        save_best_scores(path, best, rest=USUAL_SCORE)
        return path

    def report(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the error report: `report.html`, which opens without a network, and `report.json` with its numbers.

        Args:
            folder: made where it is not there.

        Returns:
            The page's path.
        """
        return write_error_report(folder, self.evaluation, self.analysis, self, title=self.title, read=read_rgb)

    def save_results(self, path: str | os.PathLike[str]) -> Path:
        """Writes what was found as a COCO result file: rows with the image ids and category ids of the ground truth.

        `pycocotools` and `maskrcnn.compare` take it beside that ground truth.

        Args:
            path: of the file; its folder is made where it is not there.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with JsonRows(path) as file:
            for row in self.evaluation.as_json():
                file.add([row])
        return path


def check_lvis(path: str | os.PathLike[str]) -> None:
    """Whether a file is LVIS's ground truth, as `Scores.lvis` takes it.

    Raises:
        ValueError: it is not, or cannot be read.
    """
    check_ground_truth(read_json(Path(path)))


def check_own_model(model: str | Path) -> Path:
    """The file of a model that may be changed.

    Raises:
        FileNotFoundError: no such model.
        ValueError: an exported one, or one that comes with the package.
    """
    path = model_file(model)
    if path.resolve() in {shipped.resolve() for shipped in SHIPPED.values()}:
        raise ValueError(
            f"{model} comes with the package and stays as it is; save a copy and evaluate that: "
            f"maskrcnn.load_model({str(model)!r}).save('own.keras')."
        )
    read_config(path)
    return path


def evaluate(
    model: Detector | scoring.Finder,
    dataset: str | Path | Dataset,
    *,
    batch_size: int = 1,
    biology: bool | float = False,
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Runs the model on the data set and scores it. Only a few batches of images are in memory at a time.

    Example:
        ```python
        scores = maskrcnn.evaluate(model, "val.json")
        print(scores["mask"]["AP"])
        scores.report("report")
        ```

    Args:
        model, dataset, batch_size, biology, progress: as in `inference.scoring.evaluate`.

    Returns:
        A dict of the scores, see there, which also contains the detections: masks as RLE, about 200 bytes per object.

    Raises:
        ValueError: the model and the data set have no class in common.
    """
    data: Dataset = open_dataset(dataset)
    categories = scoring.shared_categories(model, data)
    collector = RowCollector(data.samples, categories)
    scores = scoring.evaluate(model, data, batch_size=batch_size, biology=biology, progress=progress, on_found=collector.add)
    evaluation = Evaluation(data.samples, categories, collector.rows(), scores["max_detections"][-1])
    return Scores(scores, evaluation, f"Evaluation on {data.name or 'a data set'}")


def compare(
    first: Scores | str | Path,
    second: Scores | str | Path,
    dataset: str | Path | Dataset | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    names: tuple[str, str] = ("first", "second"),
) -> dict[str, Any]:
    """Tests whether a second result is better than a first one on the same images, or differs by chance.

    Args:
        first, second: what `evaluate` returned; or the path of a COCO results file, such as `predict`'s predictions.json.
        dataset: images and ground truth of results files; required if both are files.
        folder: where `comparison.html` and `comparison.json` are written; None: nowhere.
        names: names of the two in these files.

    Returns:
        See `metrics.bootstrap.compare`.

    Raises:
        ValueError: results of different data, a file that cannot be read, or files without `dataset`.
    """
    known = next((scores.evaluation for scores in (first, second) if isinstance(scores, Scores)), None)
    if known is None and dataset is None:
        raise ValueError("Result files are compared on ground truth: give the data set as the third argument.")
    samples, categories = _truth(known, dataset)
    ones, others = (
        scores.evaluation if isinstance(scores, Scores) else read_results(Path(scores), samples, categories)
        for scores in (first, second)
    )
    comparison = compare_evaluations(ones, others)
    if folder is not None:
        write_comparison(folder, ones, others, comparison, names=names, read=read_rgb)
    return comparison


def _truth(known: Evaluation | None, dataset: Any) -> tuple[Sequence[Sample], Sequence[Category]]:
    if known is not None:
        return known.samples, known.categories
    data: Dataset = open_dataset(dataset)
    return data.samples, data.categories


def read_results(path: Path, samples: Sequence[Sample], categories: Sequence[Category]) -> Evaluation:
    """A COCO result file beside its ground truth. Rows that name their file, as `predict` writes them, belong to that image.

    Raises:
        ValueError: no such file, no list of results, or results of other images or classes.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is no COCO result file: wanted is a list of results.")
    fields = {"image_id", "category_id", "segmentation", "score"}
    faulty = next((number for number, row in enumerate(rows) if not fields <= row.keys()), None)
    if faulty is not None:
        raise ValueError(f"Result {faulty} of {path} lacks {', '.join(sorted(fields - rows[faulty].keys()))}.")
    images = _Images(samples)
    by_name = {category.name: category.id for category in categories}
    named = []
    for row in rows:
        image_id = images.id_of(row)
        if image_id is None:
            raise ValueError(
                f"{path} has results of {row['file_name']}, which is not one image of the data; is it of other images?"
            )
        category_id = by_name.get(row.get("category_name", ""), row["category_id"])
        named.append({**row, "image_id": image_id, "category_id": category_id})
    return Evaluation(samples, categories, collect_rows(samples, categories, named))


class _Images:
    """Which image of a data set a row of results is of."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._names = {sample.image_id: sample.file_name for sample in samples}
        names = [Path(name).name for name in self._names.values()]
        counts = Counter(names)
        self._of_one = {name: number for name, number in zip(names, self._names) if counts[name] == 1}
        self._counts = counts

    def id_of(self, row: Mapping[str, Any]) -> Any:
        """By the name of its file, where only one image has that, else by its id; None where the two contradict each other."""
        if "file_name" not in row:
            return row["image_id"]
        name = Path(str(row["file_name"])).name
        if self._counts[name] <= 1:
            return self._of_one.get(name)
        known = self._names.get(row["image_id"])
        same = known is not None and Path(str(row["file_name"])).as_posix().endswith(Path(known).as_posix())
        return row["image_id"] if same else None
