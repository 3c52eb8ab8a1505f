"""Every option: its name, variables, default, range and one line of text, and where its value came from."""

from __future__ import annotations

from hybrid_infer.settings.model import Explained, ModelSettings, ModelTarget, Settings
from hybrid_infer.settings.options import Option
from hybrid_infer.settings.values import Secret, reveal

__all__ = ["Explained", "ModelSettings", "ModelTarget", "Option", "Secret", "Settings", "reveal"]
