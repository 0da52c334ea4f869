"""A ledger as one page of pictures and figures, for people who trade by it.

`figures` asks the ledger, `charts` draws, `page` puts both into one HTML file that needs no network.
"""

from __future__ import annotations

from hoox_tasks.views.report.figures import Figures, read_figures
from hoox_tasks.views.report.page import write_page

__all__ = ["Figures", "read_figures", "write_page"]
