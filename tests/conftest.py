"""Where the tests look for recordings that no package brings; without them they skip, with the reason."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.files import FOLDER

os.environ.setdefault(FOLDER, str(Path(__file__).resolve().parents[2] / "shared" / "data"))
