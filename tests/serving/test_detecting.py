from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from small_server import BrightDetector, image_bytes
from starlette.testclient import TestClient

from maskrcnn.geometry.rle import rle_from_json, rle_to_mask
from maskrcnn.serving.app import Abilities, create_app
from maskrcnn.serving.settings import ServerSettings

BOX = (10, 20, 30, 50)  # left, top, right, bottom


def mask_of_box() -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    mask[20:50, 10:30] = True
    return mask


def test_run_lengths_are_the_default(client) -> None:
    answer = client.post("/v1/detect", content=image_bytes())
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    (image,) = answer.json()["images"]
    assert (image["height"], image["width"]) == (64, 64)
    (found,) = image["detections"]
    assert found["box"] == list(BOX)
    assert (found["class"], found["label"], found["score"]) == ("square", 0, 0.9)
    np.testing.assert_array_equal(rle_to_mask(rle_from_json(found["mask"], (64, 64))), mask_of_box())


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_common_formats_are_read(client, form) -> None:
    answer = client.post("/v1/detect", content=image_bytes(form=form))
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["images"][0]["detections"]
    assert np.abs(np.subtract(found["box"], BOX)).max() <= 1  # JPEG blurs an edge


def test_a_tiff_of_16_bits_is_stretched(client) -> None:
    values = np.full((64, 64), 33_000, np.uint16)
    values[20:50, 10:30] = 35_000
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF")
    (found,) = client.post("/v1/detect", content=file.getvalue()).json()["images"][0]["detections"]
    assert found["box"] == list(BOX)


def test_dicom_is_read(client) -> None:
    pytest.importorskip("pydicom", reason='needs the extra "medical"')
    from pydicom.data import get_testdata_file

    with open(get_testdata_file("CT_small.dcm"), "rb") as file:
        answer = client.post("/v1/detect", content=file.read())
    assert answer.status_code == 200, answer.text
    assert answer.json()["images"][0]["height"] == 128


def test_several_files_are_answered_in_their_order(client) -> None:
    files = [("file", (f"{left}.png", image_bytes(box=(left, 5, left + 8, 20)), "image/png")) for left in (4, 20, 40)]
    images = client.post("/v1/detect", files=files).json()["images"]
    assert [image["name"] for image in images] == ["4.png", "20.png", "40.png"]
    assert [image["detections"][0]["box"][0] for image in images] == [4, 20, 40]


def test_auto_takes_each_class_from_its_own_best_score_up() -> None:
    def counts(best: tuple[float, ...], score: float | str, *queries: str) -> list[int]:
        with TestClient(create_app(BrightDetector(detect__best_scores=best), ServerSettings(score=score))) as client:
            answers = [client.post(f"/v1/detect?{query}", content=image_bytes()).json() for query in queries]
            names = [one["best_score"] for one in client.get("/v1/model").json()["classes"]]
            assert names == list(best)
        return [len(answer["images"][0]["detections"]) for answer in answers]

    assert counts((0.95, 0.2), 0.5, "", "score=auto", "score=auto&tile=64") == [1, 0, 0]
    assert counts((0.85, 0.95), "auto", "", "score=0.95", "score=auto&tile=64") == [1, 0, 1]


def test_auto_is_refused_where_the_model_holds_no_best_scores(client) -> None:
    answer = client.post("/v1/detect?score=auto", content=image_bytes())
    assert answer.status_code == 422
    assert "no best scores" in answer.json()["detail"]
    for score in ("automatic", "-1", "nan", "1.5"):
        assert client.post(f"/v1/detect?score={score}", content=image_bytes()).status_code == 422
    with pytest.raises(ValueError, match="no best scores"):
        create_app(BrightDetector(), ServerSettings(score="auto"))
    with pytest.raises(ValueError, match='from 0 to 1, such as 0.5, or "auto"'):
        ServerSettings(score="best")


def test_a_model_without_best_scores_that_replaces_one_with_them_answers_from_a_half() -> None:
    with TestClient(create_app(BrightDetector(detect__best_scores=(0.95, 0.95)), ServerSettings(score="auto"))) as client:
        assert client.post("/v1/detect", content=image_bytes()).json()["images"][0]["detections"] == []
        client.app.state.service.replace(BrightDetector())
        assert len(client.post("/v1/detect", content=image_bytes()).json()["images"][0]["detections"]) == 1


def test_the_best_of_the_wanted_classes(client) -> None:
    def count(**options: object) -> int:
        return len(client.post("/v1/detect", params=options, content=image_bytes()).json()["images"][0]["detections"])

    assert count(classes="square") == 1
    assert count(classes="round") == 0
    assert count(score=0.95) == 0
    assert count(score=0.85, max_detections=1) == 1
    unknown = client.post("/v1/detect?classes=ghost", content=image_bytes())
    assert unknown.status_code == 422
    assert "no class 'ghost'; it knows square, round" in unknown.json()["detail"]


def test_tiles_find_the_same(client) -> None:
    answer = client.post("/v1/detect?tile=96", content=image_bytes((300, 200), (120, 40, 160, 90)))
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["images"][0]["detections"]
    np.testing.assert_allclose(found["box"], (120, 40, 160, 90), atol=2)


def test_polygons(client) -> None:
    (found,) = client.post("/v1/detect?format=polygons", content=image_bytes()).json()["images"][0]["detections"]
    assert sorted(map(tuple, found["polygons"][0])) == [(10, 20), (10, 50), (30, 20), (30, 50)]


def test_geojson_by_the_accept_header(client) -> None:
    answer = client.post("/v1/detect", content=image_bytes(), headers={"Accept": "application/geo+json"})
    assert answer.headers["content-type"] == "application/geo+json"
    (feature,) = answer.json()["features"]
    assert feature["properties"]["classification"]["name"] == "square"
    assert len(feature["geometry"]["coordinates"][0]) == 5


def test_a_coco_data_set_opens_as_one(client, tmp_path) -> None:
    from maskrcnn.data.dataset import load_dataset

    files = [("file", (f"{k}.png", image_bytes(), "image/png")) for k in range(2)]
    for name, (_, data, _) in files:
        (tmp_path / f"{name}").write_bytes(data)
    for _, (name, data, _) in files:
        (tmp_path / name).write_bytes(data)
    (tmp_path / "truth.json").write_bytes(client.post("/v1/detect?format=coco", files=files).content)
    dataset = load_dataset(tmp_path / "truth.json")
    assert [category.name for category in dataset.categories] == ["square", "round"]
    assert [sample.areas.tolist() for sample in dataset.samples] == [[600], [600]]


def test_labelme_has_the_image_size_and_a_polygon_an_object(client) -> None:
    found = client.post("/v1/detect?format=labelme", content=image_bytes(), headers={"X-File-Name": "a/b/cell.png"}).json()
    assert (found["imagePath"], found["imageHeight"], found["imageWidth"]) == ("cell.png", 64, 64)
    (shape,) = found["shapes"]
    assert (shape["label"], shape["shape_type"], len(shape["points"])) == ("square", "polygon", 4)


def test_label_map_and_overlay_are_images(client) -> None:
    labels = client.post("/v1/detect?format=labels", content=image_bytes())
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(labels.content))), mask_of_box().astype(np.uint16))
    overlay = client.post("/v1/detect", content=image_bytes(), headers={"Accept": "image/png"})
    assert overlay.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(overlay.content)).size == (64, 64)


def test_forms_of_one_image_refuse_several(client) -> None:
    files = [("file", (f"{k}.png", image_bytes(), "image/png")) for k in range(2)]
    answer = client.post("/v1/detect?format=labels", files=files)
    assert answer.status_code == 422
    assert "one image a request; received 2 files" in answer.json()["detail"]


def test_an_accept_that_nothing_serves_is_told(client) -> None:
    answer = client.post("/v1/detect", content=image_bytes(), headers={"Accept": "audio/mpeg"})
    assert answer.status_code == 406
    assert "application/geo+json" in answer.json()["detail"]


def test_the_model_says_what_it_is(client) -> None:
    model = client.get("/v1/model").json()
    assert model["classes"] == [{"id": 1, "name": "square"}, {"id": 7, "name": "round"}]
    assert model["limits"]["max_images"] == 16


def test_uploads_are_kept_only_where_that_is_asked_for(tmp_path, detector) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    with TestClient(create_app(detector, ServerSettings(keep=kept))) as client:
        for _ in range(2):
            client.post("/v1/detect", content=image_bytes(), headers={"X-File-Name": "../../evil.png"})
    (file,) = tmp_path.rglob("*.*")
    assert file.parent == kept
    assert file.read_bytes() == image_bytes()


def test_a_video_is_followed_line_by_line(tmp_path) -> None:
    av = pytest.importorskip("av", reason='needs the extra "video"')
    pytest.importorskip("scipy", reason='needs the extra "video"')
    from maskrcnn.verbs.track import track_frames

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        for left in range(5, 25, 4):
            pixels = np.zeros((64, 64, 3), np.uint8)
            pixels[20:40, left : left + 20] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    with TestClient(create_app(BrightDetector(), ServerSettings(), Abilities(track=track_frames))) as client:
        answer = client.post("/v1/track", content=path.read_bytes())
        assert answer.status_code == 200, answer.text
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert [line["frame"] for line in lines] == [0, 1, 2, 3, 4]
        assert {line["objects"][0]["id"] for line in lines} == {1}
        broken = client.post("/v1/track", content=path.read_bytes()[:900])
        assert "error" in json.loads(broken.text.splitlines()[-1])
        playlist = client.post("/v1/track", content=b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
        assert playlist.status_code == 415
        assert client.get("/metrics").text.count("maskrcnn_places_taken 0.0") == 1
