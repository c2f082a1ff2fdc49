"""Where the functions write to when the caller gives no logger."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("ckpt.compat")
