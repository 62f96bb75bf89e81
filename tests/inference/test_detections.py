"""Laws of the detections that people hold."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskrcnn.geometry.rle import polygons_to_rle, rle_from_json, rle_to_mask
from maskrcnn.inference.detections import Detections
from maskrcnn.results.draw import draw_detections

SIZE = (40, 60)


def found(count: int = 3, **changes: Any) -> Detections:
    """Squares of growing size, with a hole in the last one's mask."""
    sides = [k % 3 for k in range(count)]
    boxes = np.array([[5 + 15 * k, 4, 13 + 16 * k, 14 + k] for k in sides], np.float32).reshape(-1, 4)
    bitmaps = [np.ones((10 + k, 8 + k), bool) for k in sides]
    if count:
        bitmaps[-1][3:5, 3:5] = False
    fields: dict[str, Any] = {
        "boxes": boxes,
        "scores": np.linspace(0.9, 0.5, count, dtype=np.float32),
        "labels": np.arange(count, dtype=np.int32) % 2,
        "small_masks": np.zeros((count, 0, 0), np.float32),
        "size": SIZE,
        "class_names": ["date", "fig"],
        "bitmaps": bitmaps,
        "corners": boxes[:, :2].astype(int),
    }
    return Detections(**(fields | changes))


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def test_repr_is_short_and_says_what_there_is() -> None:
    assert repr(found()) == "Detections(3 in an image of 40 × 60: 2 date, 1 fig; scores 0.50 to 0.90)"
    assert repr(found(0)) == "Detections(none in an image of 40 × 60)"
    many = found(500, class_names=[f"class{k}" for k in range(500)], labels=np.arange(500))
    assert len(repr(many)) < 300


def test_plot_is_the_drawing_of_the_image_that_was_searched(tmp_path: Path) -> None:
    image = picture()
    expected = draw_detections(image, found())
    np.testing.assert_array_equal(np.asarray(found(image=image).plot()), expected)
    np.testing.assert_array_equal(np.asarray(found().plot(image)), expected)
    Image.fromarray(image).save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(found(path=str(tmp_path / "a.png")).plot()), expected)
    grey = found(image=image[:, :, 0]).plot()
    assert grey.size == (60, 40)
    with pytest.raises(ValueError, match="give it"):
        found().plot()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".json", ".geojson"])
def test_save_writes_what_the_suffix_says(tmp_path: Path, suffix: str) -> None:
    path = found(image=picture()).save(tmp_path / f"a{suffix}")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    if suffix == ".json":
        assert json.loads(path.read_text()) == found().to_coco()
    elif suffix == ".geojson":
        assert json.loads(path.read_text())["type"] == "FeatureCollection"
    else:
        with Image.open(path) as opened:
            assert opened.size == (60, 40)


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.geojson.*'a.gif'"):
        found().save(tmp_path / "a.gif")


def test_coco_rows_hold_the_masks() -> None:
    rows = json.loads(json.dumps(found().to_coco(image_id=7, category_ids=[3, 9])))
    assert len(rows) == 3
    assert [row["category_id"] for row in rows] == [3, 9, 3]
    assert {row["image_id"] for row in rows} == {7}
    for row, mask, box in zip(rows, found().masks, found().boxes):
        np.testing.assert_array_equal(rle_to_mask(rle_from_json(row["segmentation"], SIZE)), mask)
        np.testing.assert_allclose(row["bbox"], [*box[:2], *(box[2:] - box[:2])])
    assert found(0).to_coco() == []


def test_labelme_polygons_are_the_masks_without_holes() -> None:
    answer = json.loads(json.dumps(found(path="folder/a.png").to_labelme()))
    assert (answer["imagePath"], answer["imageHeight"], answer["imageWidth"]) == ("a.png", 40, 60)
    assert [shape["label"] for shape in answer["shapes"]] == ["date", "fig", "date"]
    masks = found().masks
    masks[2, 7:9, 38:40] = True
    for shape, mask in zip(answer["shapes"], masks):
        np.testing.assert_array_equal(rle_to_mask(polygons_to_rle([np.array(shape["points"])], SIZE)), mask)


def test_the_parts_of_one_object_share_a_group() -> None:
    bitmap = np.zeros((4, 9), bool)
    bitmap[:, :3] = bitmap[:, 6:] = True
    answer = found(1, bitmaps=[bitmap]).to_labelme()
    assert [shape["group_id"] for shape in answer["shapes"]] == [0, 0]
    assert found(1).to_labelme()["shapes"][0]["group_id"] is None


def test_supervision_has_the_same_masks_in_run_lengths() -> None:
    pytest.importorskip("supervision")
    with np.errstate(all="ignore"):
        answer = found(track_ids=np.array([4, 5, 6])).to_supervision()
    np.testing.assert_array_equal(np.asarray(answer.mask), found().masks)
    np.testing.assert_array_equal(answer.xyxy, found().boxes)
    np.testing.assert_array_equal(answer.confidence, found().scores)
    assert answer.class_id.tolist() == [0, 1, 0]
    assert answer.tracker_id.tolist() == [4, 5, 6]
    assert answer.data["class_name"].tolist() == ["date", "fig", "date"]
    assert len(found(0).to_supervision()) == 0


def test_the_frame_is_a_row_an_object(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = found().to_frame()
    assert frame["class"].tolist() == ["date", "fig", "date"]
    assert frame["area"].tolist() == found().areas().tolist()
    assert "track_id" not in frame
    assert found(track_ids=np.array([4, 5, 6])).to_frame()["track_id"].tolist() == [4, 5, 6]
    path = found().save(tmp_path / "a.csv")
    pandas.testing.assert_frame_equal(pandas.read_csv(path), frame, check_dtype=False, check_exact=False, rtol=1e-5)


@pytest.mark.parametrize(("name", "call"), [("pandas", "to_frame"), ("supervision", "to_supervision")])
def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, name: str, call: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'{name}.*pip install "maskrcnn\['):
        getattr(found(), call)()


def test_filter_keeps_what_fits_and_the_rest_of_the_record() -> None:
    assert found().filter(score=0.7).scores.tolist() == pytest.approx([0.9, 0.7])
    assert found().filter(classes="date").names == ["date", "date"]
    assert found().filter(classes=["fig"], score=0.95).names == []
    areas = found().areas()
    assert found().filter(min_area=int(areas[1])).areas().tolist() == areas[1:].tolist()
    assert found().filter(max_area=int(areas[0])).areas().tolist() == areas[:1].tolist()
    kept = found(path="a.png", image=picture()).filter(classes="fig")
    assert type(kept) is Detections
    assert (kept.path, kept.image is not None) == ("a.png", True)
    with pytest.raises(ValueError, match="'pear'.*date, fig"):
        found().filter(classes="pear")


def test_iteration_gives_the_objects() -> None:
    image, detections = picture(), found()
    objects = list(detections)
    assert len(objects) == 3
    for number, one in enumerate(objects):
        np.testing.assert_array_equal(one.mask, detections.masks[number])
        assert (one.area, one.name, one.label) == (
            detections.areas()[number],
            detections.names[number],
            detections.labels[number],
        )
        assert one.score == pytest.approx(float(detections.scores[number]))
        np.testing.assert_array_equal(one.polygon[0], detections.polygons()[number][0])
        left, top, right, bottom = detections.boxes[number].astype(int)
        np.testing.assert_array_equal(one.crop(image), image[top:bottom, left:right])
        cut = one.crop(image, background=7)
        assert (cut[~detections.masks[number][top:bottom, left:right]] == 7).all()


def test_slices_are_detections_of_the_same_kind() -> None:
    assert type(found()[1:]) is Detections
    assert len(found()[1:]) == 2


def test_html_escapes_names_and_embeds_the_plot() -> None:
    html = found(30, class_names=["<b>", "&"], image=picture())._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert 'src="data:image/jpeg;base64,' in html
    assert "and 10 more" in html
    assert "<img" not in found()._repr_html_()


def test_they_can_be_pickled() -> None:
    again = pickle.loads(pickle.dumps(found(image=picture())))
    np.testing.assert_array_equal(again.masks, found().masks)
