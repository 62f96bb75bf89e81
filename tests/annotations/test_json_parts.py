"""JSON read part by part: the same as all at once, whatever is in it and wherever the parts end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskrcnn.annotations import json_parts
from maskrcnn.annotations.json_parts import decode_json, read_parts

texts = st.text(max_size=8) | st.sampled_from(["}, {", '"', "\\", "]", "[{", "ü€𝄞", "a" * 90])
scalars = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
rows = st.lists(st.dictionaries(texts, values, min_size=1, max_size=3), max_size=30)
objects = st.dictionaries(texts, rows | values, max_size=5)


def joined(path: Path) -> dict[str, Any]:
    """The object that the parts make up."""
    whole: dict[str, Any] = {}
    for key, value in read_parts(path):
        if isinstance(value, list):
            whole.setdefault(key, []).extend(value)
        else:
            whole[key] = value
    return whole


@pytest.fixture(params=[5, 64, 2**20])
def window(request, monkeypatch) -> int:
    monkeypatch.setattr(json_parts, "PART", request.param)
    return request.param


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=objects, indent=st.sampled_from([None, 0, 2]), ascii=st.booleans(), mark=st.booleans())
def test_the_parts_are_the_whole(window, tmp_path_factory, content, indent, ascii, mark):
    path = tmp_path_factory.mktemp("json") / "a.json"
    separators = (",", ":") if indent is None and ascii else None
    text = json.dumps(content, indent=indent, ensure_ascii=ascii, separators=separators).encode("utf-8", "surrogatepass")
    path.write_bytes(b"\xef\xbb\xbf" * mark + text)
    assert joined(path) == json.loads(text) == decode_json(path.read_bytes())


def test_few_entries_are_held_at_a_time(monkeypatch, tmp_path):
    monkeypatch.setattr(json_parts, "PART", 1000)
    rows = [{"id": k, "segmentation": [[1.5] * 10]} for k in range(1000)]
    (tmp_path / "a.json").write_text(json.dumps({"annotations": rows, "empty": []}))
    parts = list(read_parts(tmp_path / "a.json"))
    assert max(len(part) for _, part in parts) < 40 and len(parts) > 50
    assert parts[-1] == ("empty", [])


def test_what_only_python_takes_for_json_is_read_too(window, tmp_path):
    text = '{"a": [{"x": NaN}, {"x": -Infinity}, {"x": 1}], "b": Infinity}'
    (tmp_path / "a.json").write_text(text)
    assert repr(joined(tmp_path / "a.json")) == repr(json.loads(text)) == repr(decode_json(text.encode()))
    assert decode_json('{"a": "ü"}'.encode("utf-16")) == {"a": "ü"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"a": [{"x": 1}, {"x"', '{"a": [1, 2', '{"a": [1 2]}', '{"a": [1,]}', '{"a": 1,}', '{"a": 1} x', '{"a" 1}',
     '{"a": [{"x": 1}, {"x": 2}', '{"a": ?}', '{1: 2}', '{"a": "\\q"}', '{"a": 1', '{"a": [{"x": 1},, {"x": 1}]}'],
)  # fmt: skip
def test_what_is_no_json_object_is_one_line(window, tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"^Cannot read .*a\.json as JSON: [^\n]+$"):
        joined(tmp_path / "a.json")


def test_text_that_is_no_unicode_and_depth_without_end_are_refused(window, tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff\xfe"}')
    with pytest.raises(ValueError, match="as JSON"):
        joined(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"a": ' + "[" * 200_000)
    with pytest.raises(ValueError, match="as JSON"):
        joined(tmp_path / "b.json")
    with pytest.raises(ValueError, match=r"Cannot read .*gone\.json: No such file"):
        joined(tmp_path / "gone.json")
