"""Stored statistics of real speech that the normalisations use; scripts/measure_prosody_statistics.py makes them."""

import functools
import json
from importlib import resources
from typing import Any


@functools.cache
def population_statistics() -> dict[str, Any]:
    """Return the content of assets/population_statistics.json: provenance, prosody and log-mel mean and std."""
    file = resources.files("deeptalk.speech") / "assets" / "population_statistics.json"
    return json.loads(file.read_text(encoding="utf-8"))
