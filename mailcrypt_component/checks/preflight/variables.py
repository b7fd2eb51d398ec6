"""Points out variables that docker-mailserver does not know."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from mailcrypt_component.model.dms_variables import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterable


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return a warning for each variable that docker-mailserver does not read.

    It is no error: user-patches.sh may read any variable.
    """
    return [
        _warning(name) for name in sorted(names) if name.removesuffix("__FILE") not in VARIABLES
    ]


def _warning(name: str) -> str:
    near = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.75)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"environment.{name}: docker-mailserver has no such variable{meant}"
