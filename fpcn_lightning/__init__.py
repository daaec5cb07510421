"""FPCN for rock photographs: teacher, rivals and students that are comparable."""

import os

# onnxruntime reports to its maker unless it is told otherwise before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.2.0"
