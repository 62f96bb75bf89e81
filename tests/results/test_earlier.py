"""Results of an earlier run are moved away, whole, and nothing else is."""

import json
from pathlib import Path

from maskrcnn.results.earlier import set_aside


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_an_earlier_run_wrote_moves_and_other_files_stay(tmp_path):
    written = {"predictions.json", "images.json", "a_overlay.png", "a_labels.png", "stack_0001_labels.png", "stack.geojson"}
    large = {"slide_predictions.json", "slide_labels.tif"}
    write(tmp_path, *written, *large, "mine_overlay.png", "a.png", "outside_labels.png")
    rows = [{"name": "a"}, {"name": "stack_0001", "name_in_file": "stack"}, {"name": "../outside"}, {"name": ""}]
    (tmp_path / "images.json").write_text(json.dumps(rows))
    place = set_aside(tmp_path)
    assert place == tmp_path / "earlier/1" and names_in(place) == written | large
    assert names_in(tmp_path) == {"earlier", "mine_overlay.png", "a.png", "outside_labels.png"}
    assert set_aside(tmp_path) is None
    write(tmp_path, "predictions.json")
    assert set_aside(tmp_path) == tmp_path / "earlier/2"


def test_a_list_that_is_none_names_nothing(tmp_path):
    for text in ("[1]", "{", '{"name": "a"}', "7"):
        write(tmp_path, "a_overlay.png")
        (tmp_path / "images.json").write_text(text)
        place = set_aside(tmp_path)
        assert place is not None and names_in(place) == {"images.json"}
    assert (tmp_path / "a_overlay.png").exists() and set_aside(tmp_path / "nowhere") is None
