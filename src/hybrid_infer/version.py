"""The version, in the one place that the build reads too."""

from __future__ import annotations

VERSION = "0.1.0"
