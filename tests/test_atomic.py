"""Files and folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskrcnn.atomic import new_folder


def test_a_folder_appears_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("new/inner", "empty"):
        with new_folder(Path(name)) as folder:
            (folder / "sub").mkdir()
            (folder / "sub/file").write_text("full")
            assert not (tmp_path / name / "sub").exists()
        assert (tmp_path / name / "sub/file").read_text() == "full"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fill() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "file").write_text("half")
            raise error

    with pytest.raises(error):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    for path in (tmp_path / "full/file", tmp_path / "file"):
        path.write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(ValueError, match="is not empty; name a new folder"), new_folder(tmp_path / name):
            pytest.fail("nothing may be written")
    assert (tmp_path / "full/file").read_text() == (tmp_path / "file").read_text() == "mine"
