"""The process that serves a lab to Jupyter, on a socket that only its owner can open."""

from __future__ import annotations

from flip_lab.api.access import OwnerAccess
from flip_lab.api.app import create_app
from flip_lab.api.problems import problem_of
from flip_lab.core.errors import FlipLabError
from flip_lab.jupyter.serving import asked, serve, tell
from flip_lab.runs.lab import Lab
from flip_lab.store.audit_writer import author


def main() -> None:
    """Serve a lab until Jupyter ends."""
    place = asked()
    try:
        app = create_app(Lab(place.lab), OwnerAccess(name=author()), prefix="")
    except FlipLabError as error:
        tell(problem_of(error))
        raise SystemExit(1) from error
    serve(app, place.socket)


if __name__ == "__main__":
    main()
