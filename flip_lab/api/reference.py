"""The reference of the API as a file: ``docs/reference/openapi.json``."""

from __future__ import annotations

import json
import tempfile

from flip_lab.api.access import OwnerAccess
from flip_lab.api.app import create_app
from flip_lab.runs.lab import Lab


def reference_json() -> str:
    """Give the OpenAPI document of the API, in a stable order.

    The version of FLIP Lab is left out: a release alone changes no page.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        app = create_app(Lab(nowhere), OwnerAccess(name="reader"))
        document = app.openapi()
    document["info"]["version"] = "v1"
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
