"""Annotations that a model contradicts with confidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from maskrcnn.doctor.findings import Finding, Where
from maskrcnn.metrics.errors import label_errors
from maskrcnn.metrics.rows import Evaluation

CONFIDENT = 0.7  # least score of a result that may contradict an annotation


def suspects(part: str, evaluation: Evaluation, places: Sequence[int]) -> Iterator[Finding]:
    """Objects whose class may be wrong, and objects that may be missing, the surest first.

    Results of at least `CONFIDENT` count. Each class's best score on this data would be no guide: where annotations are wrong,
    it lies above the results that show it.

    Args:
        part: which data set.
        evaluation: a model's results on it.
        places: of the evaluated images in the data set's samples.
    """
    kept = evaluation.at(np.full(len(evaluation.categories), CONFIDENT))
    for row in label_errors(kept, score=CONFIDENT):
        number = int(kept.rows.images[row["row"]])
        place, ids = places[number], kept.samples[number].annotation_ids.tolist()
        objects = () if row["annotation_id"] is None else (ids.index(row["annotation_id"]),)
        where = Where(part, place, objects, kept.rows.rle(row["row"], kept.samples))
        if objects:
            message = f"annotated as {row['annotated_class']}, the model sees {row['class']} with score {row['score']:.2f}"
            yield Finding("class may be wrong", "warning", message, (where,))
        else:
            message = f"the model sees {row['class']} with score {row['score']:.2f} where nothing is annotated"
            yield Finding("object may be missing", "warning", message, (where,))
