"""How many examples a property test is given that needs more or fewer than others."""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100


def examples(usual: int) -> int:
    """As many where others have 100; in step with them where the profile gives them more or fewer."""
    return max(1, usual * settings().max_examples // _USUAL)
