"""What runs in Ray's worker processes: one actor per slot, holding the app."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from flwr.app import RecordDict
from flwr.clientapp import ClientApp

from flip_lab.core.errors import FlipLabError
from flip_lab.engines.base import AppSource
from flip_lab.engines.clients import ClientCall, ClientOutcome, ClientSetting, call_client
from flip_lab.engines.flower.messages import for_client


class ClientActor:
    """Holds the ClientApp of one run and carries out calls, one at a time.

    Args:
        source: Where the ClientApp comes from.
        setting: What is the same for the whole run.
        work_dir: Directory that apps run in.
        search_path: The run process's ``sys.path``; cheaper than a Ray runtime
            environment, which costs seconds for each actor.
    """

    def __init__(
        self,
        source: AppSource,
        setting: ClientSetting,
        *,
        work_dir: Path,
        search_path: Sequence[str],
    ) -> None:
        """Set the process up as the run process is; the app is loaded by ``prepare``."""
        sys.path[:] = [*search_path, *(p for p in sys.path if p not in search_path)]
        os.chdir(work_dir)
        torch.set_num_threads(1)
        self._setting = setting
        self._source = source
        self._app: ClientApp | None = None

    def prepare(self) -> str:
        """Load the app.

        Returns:
            Nothing when it loaded; otherwise why not. An exception would reach the run
            process as Ray's own error, without our code and fix.
        """
        try:
            self._app = self._source.load_client_app()
        except FlipLabError as error:
            return str(error)
        return ""

    def carry_out(self, content: RecordDict, call: ClientCall) -> ClientOutcome:
        """Carry out one call.

        Args:
            content: The content of the call's message, shared by all clients of a round
                and therefore shipped apart from it.
            call: The call, its message without content.
        """
        if self._app is None:  # this actor took the place of one that died
            self._app = self._source.load_client_app()
        whole = replace(call, message=for_client(call.message, content))
        return call_client(self._app, whole, self._setting)
