"""An extra that is not installed explains itself."""

import pytest

from maskrcnn import extras


def test_an_absent_library_says_what_to_install():
    with pytest.raises(ImportError) as error:
        extras.load("no_such_library", extra="medical", why="DICOM files need pydicom")
    assert str(error.value) == 'DICOM files need pydicom, which is not installed: pip install "maskrcnn[medical]"'


def test_a_present_one_is_the_module():
    assert extras.load("json.decoder", extra="medical", why="nothing").JSONDecoder
