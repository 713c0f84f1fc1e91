"""structlog, without rich: where that is installed structlog imports it for its tracebacks, which we have plain.

It would cost every daemon 5 MB and a tenth of a second, for what only `esmd top` uses.
"""

from __future__ import annotations

import sys

_hides_rich = "rich" not in sys.modules
if _hides_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]  # what Python takes for a module that is not there
try:
    import structlog
finally:
    if _hides_rich:
        del sys.modules["rich"]

__all__ = ["structlog"]
