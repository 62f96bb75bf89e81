"""Charts and tables of the error report."""

from __future__ import annotations

import re

from maskrcnn.reports.plots import bar_table


def test_numbers_with_a_sign_stand_in_one_column():
    page = bar_table(["class", "difference", "why"], [("cat", 0.1, ["-0.100", "lost"]), ("dog", 0.1, ["+0.100", "won"])])
    assert re.findall(r'<td( class="number")?>([^<]+)</td>', page) == [
        (' class="number"', "-0.100"),
        ("", "lost"),
        (' class="number"', "+0.100"),
        ("", "won"),
    ]
