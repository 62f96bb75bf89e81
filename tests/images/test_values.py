"""Laws of windows and lookup tables."""

import numpy as np
import pytest

from maskrcnn.images import values as values_module
from maskrcnn.images.values import looked_up, stretch, windowed

VALUES = np.linspace(-1100, 1100, 2201).reshape(31, 71)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(40, 400), (-600, 1500), (0.5, 20)])
def test_windows_are_those_of_pydicom(function, centre, width):
    pydicom = pytest.importorskip("pydicom", reason="the extra medical is not installed")
    about = pydicom.Dataset()
    about.PhotometricInterpretation, about.BitsStored, about.PixelRepresentation = "MONOCHROME2", 8, 0  # so that white is 255
    about.WindowCenter, about.WindowWidth, about.VOILUTFunction = centre, width, function
    expected = pydicom.pixels.apply_windowing(VALUES, about)
    np.testing.assert_allclose(windowed(VALUES, centre, width, function=function), expected, atol=0.5 + 1e-6)


def test_the_window_is_what_goes_from_black_to_white():
    shown = windowed(np.array([[-161.0, -160.0, 39.5, 239.0, 240.0]]), 40, 400)
    assert shown.tolist() == [[0, 0, 128, 255, 255]]


def test_a_window_of_one_value_is_a_threshold():
    assert windowed(np.array([[9.0, 9.6, 10.0]]), 10, 1).tolist() == [[0, 255, 255]]


@pytest.mark.parametrize(
    ("width", "function"), [(0.5, "LINEAR"), (0, "LINEAR_EXACT"), (-3, "SIGMOID"), (float("nan"), "LINEAR")]
)
def test_a_width_without_values_is_refused(width, function):
    with pytest.raises(ValueError, match="window's width"):
        windowed(VALUES, 0, width, function=function)


def test_an_unknown_function_is_named():
    with pytest.raises(ValueError, match="received LOG"):
        windowed(VALUES, 0, 10, function="LOG")


def test_a_table_shows_its_entries_and_its_ends_beyond_them():
    table = np.array([0, 1023, 2046, 4095])
    shown = looked_up(np.array([[-5, 10, 10.6, 12, 13, 99]]), table, first=10, bits=12)
    assert shown.tolist() == [[0, 0, 64, 127, 255, 255]]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("scaling", ["all_channels", "each_channel"])
def test_values_of_16_bits_are_counted_and_stretched_as_floats_are(seed, scaling, monkeypatch):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(values_module, "_COUNTED", 300)  # several blocks
    shape = (int(rng.integers(1, 60)), int(rng.integers(1, 60)), int(rng.integers(1, 5)))
    low, high = sorted(rng.integers(0, 1 << 16, 2).tolist())
    image = rng.integers(low, high + 1 if seed % 4 else low + 1, shape).astype(np.uint16)
    for given in (image, image.view(np.int16), image[::-1, ::2], image[:, :, 0]):
        np.testing.assert_array_equal(stretch(given, scaling), stretch(given.astype(np.float64), scaling))
