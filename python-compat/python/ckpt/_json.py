"""Values that JSON can hold."""

from __future__ import annotations

import json
from typing import Any


def plain_json(what: str, value: Any) -> Any:
    """Returns a value as JSON has it: tuples as lists, keys as texts.

    Raises:
        TypeError: JSON can't hold it. The message begins with `what`.
        ValueError: A number in it isn't finite, which JSON has no word for; or it contains itself.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{what} can't be written as JSON: {error}") from None
