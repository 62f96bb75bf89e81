"""The documentation: links lead somewhere, quoted code is the code, marked blocks run, the site builds."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from docs_blocks import PAGES, ROOT, anchors, blocks, commands, links, prose
from PIL import Image
from small_tracks import write_video
from typer.testing import CliRunner

import maskrcnn
import maskrcnn.api
from maskrcnn.cli import app
from maskrcnn.config.presets import PRESETS
from maskrcnn.data.shapes import make_shapes
from maskrcnn.weights.finding import model_file
from maskrcnn.weights.published import PUBLISHED, SHIPPED

NUCLEI = SHIPPED["nuclei"].with_suffix(".png")
SMALLER = {  # later options win: what makes a command of the docs small enough for a test, and keeps it from downloading
    "train": ["--epochs", "1", "--image-size", "64", "--init", "nuclei"],
    "data preview": ["--num-images", "2"],
}
INSTALLS = ("pip", "python3", "source")  # commands of the marked blocks that set up what the tests already have
TRAINED = ("README.md", "docs/first-model.md")  # pages whose own commands make runs/first
SMALLER_PYTHON = {
    'from_preset("resnet50_fpn", num_classes=2)': (
        'from_preset("nuclei", num_classes=2, image__short_side=64, image__long_side=107, log=lambda _: None)'
    ),
    "epochs=10": "epochs=1, verbose=0",
}


def test_relative_links_lead_to_a_file_and_a_heading():
    checked = 0
    for page in PAGES:
        for link in links(page):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            where = f"{page.relative_to(ROOT)} links {link}"
            assert target.exists(), f"{where}, which does not exist"
            if ROOT / "docs" in page.parents:
                assert ROOT / "docs" in target.parents, f"{where}, which the site does not have"
            if anchor and target.suffix == ".md":
                assert anchor in anchors(target), f"{where}, a heading that {name or 'the page'} does not have"
            checked += 1
    assert checked > 60


def test_all_rows_of_a_table_have_as_many_cells():
    """A table whose second row has fewer is shown as text."""
    checked = 0
    for page in PAGES:
        before = 0
        for line in prose(page).split("\n"):
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.strip().startswith("|") else 0
            assert not (before and cells) or cells == before, f"{page.relative_to(ROOT)} has {line} among other rows"
            before = cells
            checked += cells > 0
    assert checked > 300


def test_quoted_code_is_the_code():
    quoted = [block for page in PAGES for block in blocks(page) if block.mark.startswith("from ")]
    assert len(quoted) >= 5
    for block in quoted:
        path = block.mark.removeprefix("from ")
        source, lines = (_code(text) for text in ((ROOT / path).read_text("utf-8"), block.text))
        starts = range(len(source) - len(lines) + 1)
        assert any(source[start : start + len(lines)] == lines for start in starts), f"{path} no longer has:\n{block.text}"


def _code(text: str) -> list[str]:
    """Its lines without indentation and without comments at their ends."""
    return [re.sub(r"\s+# .*$", "", line.strip()) for line in text.splitlines()]


BRITISH = re.compile(
    r"\b(\w*(?:colour|behaviour|neighbour|favour|labell)\w*|licence\w*|grey\w*|centre[ds]?|(?:centi|milli|micro)metres?"
    r"|\w+(?:alis|isat|ognis|imis|onymis|ganis)(?:e[ds]?|ing|ion)|learnt|analys(?:ed?|ing)|catalogues?|artefacts?)\b",
    re.IGNORECASE,
)


def test_prose_is_in_american_english():
    british = ["Colours", "behaviour", "normalised", "anonymise", "labelled", "centre", "grey", "licence", "localisation"]
    assert BRITISH.findall(f"{', '.join(british)}; precise, license, color, analysis, organ, center") == british
    for page in PAGES:
        snippets = "\n".join(block.text for block in blocks(page) if not block.mark.startswith("from "))
        found = BRITISH.findall(re.sub(r"`[^`]*`|\]\([^)]*\)", "", prose(page)) + snippets)
        assert found == [], f"{page.relative_to(ROOT)} has {found}"


def test_the_package_speaks_american_english():
    """Comments, docstrings, help texts and messages; but not names of parameters and what stands in backticks."""
    count, found = 0, []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            comment = re.sub(r"`[^`]*`", "", line.partition("# ")[2])
            count += bool(comment)
            found += [f"{path.relative_to(ROOT)}:{number} has {word}" for word in BRITISH.findall(comment)]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                count += 1
                text = re.sub(r"`[^`]*`|^ +\w+(, \w+)*: ", "", node.value, flags=re.MULTILINE)
                found += [f"{path.relative_to(ROOT)}:{node.lineno} has {word}" for word in BRITISH.findall(text)]
    assert count > 5000
    assert found == []


def test_the_figures_of_the_readme_were_measured():
    """Each stands in docs/measurements.md, there perhaps with more digits."""
    readme = (ROOT / "README.md").read_text("utf-8").partition("## What it is better at")[2].partition("\n| |")[0]
    measured = re.findall(r"(?<![\d.])\d+\.\d+", (ROOT / "docs/measurements.md").read_text("utf-8"))
    figures = re.findall(r"(?<![\d.])\d+\.\d+", re.sub(r"\]\([^)]*\)", "", readme))
    assert len(figures) > 10
    rounded = {f"{float(number):.{digits}f}" for number in measured for digits in (1, 2, 3)}
    assert [figure for figure in figures if figure not in rounded] == []


def test_the_site_has_every_page():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if ROOT / "docs" in page.parents]
    assert len(pages) > 15
    assert [page for page in pages if page not in navigation] == []


def test_the_models_reference_has_every_preset_and_published_model():
    reference = (ROOT / "docs/reference/models.md").read_text("utf-8")
    assert [name for name in (*PRESETS, *PUBLISHED, *SHIPPED) if f"| `{name}` |" not in reference] == []


def test_the_python_reference_has_every_public_name():
    reference = (ROOT / "docs/reference/api.md").read_text("utf-8")
    names = [name for name in maskrcnn.__all__ if name != "__version__"]
    assert len(names) > 10
    assert [name for name in names if f"maskrcnn.{name}" not in reference] == []


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["zensical", "mkdocs"])
def test_the_site_builds_without_a_warning(builder, tmp_path):
    pytest.importorskip(builder, reason="needs the extra docs")
    pytest.importorskip("mkdocstrings_handlers.python", reason="needs the extra docs")
    for name in ("docs", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.keras"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    options = {"zensical": ["--strict"], "mkdocs": ["--strict", "--theme", "mkdocs"]}[builder]  # material is not installed
    done = subprocess.run([sys.executable, "-m", builder, "build", *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    page = (tmp_path / "site/reference/api/index.html").read_text("utf-8")
    assert "from_checkpoint" in page  # the docstrings are there
    if builder == "zensical":  # MkDocs's own theme isn't the one that people see
        assert requests_of_site(tmp_path / "site") == []


def requests_of_site(site: Path) -> list[str]:
    """What pages load from elsewhere, and what makes the theme's script do so: diagrams, code to run."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    loaded = re.compile(r"""<(?:script|img|iframe|source|video|link)\b[^>]*?\s(?:src|href)=["']?(?:https?:)?//[^"'\s>]+""")
    triggers = re.compile(r'class="[^"]*\b(?:mermaid|glightbox|pyodide|ace-zensical)\b|data-md-component="source"')
    imported = re.compile(r"""(?:@import|url\()\s*["']?(?:https?:)?//""")
    found = [f"{page.relative_to(site)}: {hit}" for page in pages for hit in _loads(page, loaded, triggers)]
    return found + [f"{sheet.relative_to(site)}" for sheet in site.rglob("*.css") if imported.search(sheet.read_text("utf-8"))]


def _loads(page: Path, *patterns: re.Pattern[str]) -> list[str]:
    text = re.sub(r'<link[^>]*rel="?canonical"?[^>]*>', "", page.read_text("utf-8"))
    return [hit for pattern in patterns for hit in pattern.findall(text)]


def test_a_site_that_asks_others_is_noticed(tmp_path):
    (tmp_path / "site").mkdir()
    for number in range(21):
        (tmp_path / f"site/{number}.html").write_text('<a href="https://example.org">elsewhere</a><img src="images/a.jpg">')
    assert requests_of_site(tmp_path / "site") == []
    (tmp_path / "site/0.html").write_text('<pre class="mermaid"></pre><script defer src="https://example.org/a.js"></script>')
    (tmp_path / "site/a.css").write_text('@import "https://example.org/b.css";')
    assert len(requests_of_site(tmp_path / "site")) == 3


def one_nucleus(file_name: str, height: int, width: int) -> dict[str, list]:
    """A COCO data set of one image with one object."""
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 20], "area": 600, "iscrowd": 0}
    entry["segmentation"] = [[10, 10, 40, 10, 40, 30, 10, 30]]
    image = {"id": 1, "file_name": file_name, "height": height, "width": width}
    return {"images": [image], "annotations": [entry], "categories": [{"id": 1, "name": "nucleus"}]}


@pytest.fixture
def small_project(tmp_path, monkeypatch):
    """A folder with all that the tested blocks name: data of two classes, photos, a stack; the tests' working directory."""
    for name, made in zip(("train", "val"), make_shapes(tmp_path, num_train=4, num_val=2, size=(64, 96), seed=0)):
        data = json.loads(Path(made).read_text("utf-8"))
        data["categories"] = data["categories"][:2]
        kept = {category["id"] for category in data["categories"]}
        data["annotations"] = [entry for entry in data["annotations"] if entry["category_id"] in kept]
        assert data["annotations"]
        (Path(made).parent / f"{name}.json").write_text(json.dumps(data))
    pixels = np.asarray(Image.open(NUCLEI).convert("RGB"))[:128, :160]
    for name in ("image.png", "photo.jpg", "one.jpg", "cells.png", "folder/a.jpg", "photos/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    export: dict[str, list] = {"images": [], "annotations": []}
    for number, name in enumerate(("a_1.png", "a_2.png", "b_1.png", "c_1.png", "d_1.png", "e_1.png"), start=1):  # five sites
        Image.fromarray(np.roll(pixels, 20 * number, axis=1)).save(tmp_path / name)
        one = one_nucleus(name, *pixels.shape[:2])
        export["images"] += [one["images"][0] | {"id": number}]
        export["annotations"] += [one["annotations"][0] | {"id": number, "image_id": number}]
    (tmp_path / "export.json").write_text(json.dumps(export | {"categories": one["categories"]}))
    (tmp_path / "nuclei.json").write_text(json.dumps(one_nucleus("image.png", *pixels.shape[:2])))
    for name in ("two.tif", "more/c.tif", "mosaic.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, pixels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A model of the two classes above at 64 pixels, as a file: what the pages call runs/first."""
    names = ["circle", "square"]
    changes = {"image__short_side": 64, "image__long_side": 107, "detect__max_detections": 20}
    model = maskrcnn.MaskRCNN.from_preset("nuclei", class_names=names, log=lambda _: None, **changes)
    path = tmp_path_factory.mktemp("model") / "best.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def opened():
    """Models by what is in their files: the graph of each is traced once for all pages."""
    return {}


@pytest.fixture
def whole_project(request, small_project, small_model, opened, monkeypatch):
    """The project above with runs, predictions, and data of several formats, as the pages name them."""
    load = maskrcnn.load_model

    def load_once(path, **options):
        key = (sha256(model_file(path).read_bytes()).digest(), *options)
        if key not in opened:
            opened[key] = load(path, **options)
        return opened[key]

    monkeypatch.setattr(maskrcnn, "load_model", load_once)
    monkeypatch.setattr(maskrcnn.api, "load_model", load_once)
    monkeypatch.setattr(typer, "launch", lambda *_: 0)
    for run in () if request.node.callspec.params["name"] in TRAINED else ("first", "second", "lesions", "organs"):
        (small_project / "runs" / run).mkdir(parents=True)
        shutil.copy(small_model, small_project / "runs" / run)
    add_data(small_project)
    return small_project


def add_data(folder: Path) -> None:
    """`DATA`, `site1.json`, `site2/`, `images/`, `unlabeled/` and `cells.ome.tif`."""
    export = json.loads((folder / "export.json").read_text("utf-8"))
    for name, part in (("DATA", slice(None)), ("site2", slice(3, None))):
        images = export["images"][part]
        ids = {image["id"] for image in images}
        kept = [entry for entry in export["annotations"] if entry["image_id"] in ids]
        (folder / name).mkdir()
        (folder / name / "annotations.json").write_text(json.dumps(export | {"images": images, "annotations": kept}))
        for image in images:
            shutil.copy(folder / image["file_name"], folder / name)
    first = [entry for entry in export["annotations"] if entry["image_id"] <= 3]
    named = export | {"images": export["images"][:3], "annotations": first, "categories": [{"id": 1, "name": "Nucleus"}]}
    (folder / "site1.json").write_text(json.dumps(named))
    for name in ("images", "unlabeled"):
        (folder / name).mkdir(exist_ok=True)
        shutil.copy(folder / "image.png", folder / name / "c.png")
    tifffile.imwrite(
        folder / "cells.ome.tif", np.asarray(Image.open(folder / "image.png").convert("L")), metadata={"axes": "YX"}
    )


def add_table(folder: Path) -> None:
    """`found/`, as prediction with Ray writes it."""
    pytest.importorskip("pandas", reason="needs the extra tables")
    pytest.importorskip("pyarrow", reason="needs the extra medical")
    done = CliRunner().invoke(app, ["data", "convert", str(folder / "export.json"), "--to", "parquet", "--out", "found"])
    assert done.exit_code == 0, done.output


def add_video(folder: Path) -> None:
    """`street.mp4`, of three frames."""
    pytest.importorskip("av", reason="needs the extra video")
    pixels = np.asarray(Image.open(folder / "image.png"))
    write_video(folder / "street.mp4", [pixels] * 3, codec="mpeg4")


MORE = {"docs/scale.md": add_table, "docs/video.md": add_video}  # what some pages need besides


# How many blocks of each page are marked: one that loses its mark by accident is missed.
TESTED = {
    "README.md": 1,
    "docs/anchors.md": 1,
    "docs/data.md": 9,
    "docs/evaluation.md": 4,
    "docs/first-model.md": 5,
    "docs/index.md": 1,
    "docs/install.md": 1,
    "docs/label.md": 2,
    "docs/large.md": 1,
    "docs/medical.md": 2,
    "docs/scale.md": 2,
    "docs/video.md": 1,
}


def test_every_marked_block_is_known():
    marked = {page.relative_to(ROOT).as_posix(): sum(block.mark == "tested" for block in blocks(page)) for page in PAGES}
    assert {page: count for page, count in marked.items() if count} == TESTED


@pytest.mark.slow
@pytest.mark.parametrize("name", TESTED)
def test_marked_blocks_run(name, whole_project):
    if name == "docs/medical.md":
        pytest.importorskip("skimage", reason="needs the extra medical")
    MORE.get(name, lambda _: None)(whole_project)
    names: dict[str, object] = {}
    for block in blocks(ROOT / name):
        if block.mark != "tested":
            continue
        if block.language == "python":
            exec(_smaller(block.text), names)
            continue
        for program, *words in commands(block.text):
            if program in INSTALLS:
                continue
            assert program == "maskrcnn"
            verb = " ".join(words[:2]) if words[0] == "data" else words[0]
            done = CliRunner().invoke(app, [*words, *SMALLER.get(verb, ())], env={"COLUMNS": "200"})
            assert done.exit_code == 0, f"maskrcnn {' '.join(words)}\n{done.output}"


def _smaller(text: str) -> str:
    for long, short in SMALLER_PYTHON.items():
        text = text.replace(long, short)
    return text
