"""One client's turn: whatever the ClientApp raises becomes an answer, not the run's end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from flip_lab.engines.clients import ClientCall, ClientOutcome, ClientSetting, call_client
from flip_lab.engines.flower.messages import become_server, stamp

_SETTING = ClientSetting(run_number=7, seed=0, num_nodes=1, run_config={})


def take_a_turn(app: ClientApp) -> ClientOutcome:
    """Let one client train once."""
    become_server(_SETTING.run_number)
    message = Message(RecordDict(), dst_node_id=1, message_type="train")
    stamp(message, "message-1")
    call = ClientCall(
        message=message, partition_id=0, server_round=1, phase="train", state=RecordDict()
    )
    return call_client(app, call, _SETTING)


def test_a_client_that_exits_is_a_client_that_failed() -> None:
    """In process its exit would end the server too; on real nodes it ends the client."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        del message, context
        sys.exit("no data here")

    outcome = take_a_turn(app)
    assert outcome.reply is None
    assert outcome.state is None
    assert outcome.error.startswith("SystemExit: no data here")


def test_a_client_that_goes_elsewhere_does_not_take_the_server_along(
    tmp_path: Path,
) -> None:
    """The working directory is the process's; a client gets it back as it was."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        del context
        os.chdir(tmp_path)
        return Message(RecordDict(), reply_to=message)

    before = Path.cwd()
    assert take_a_turn(app).error == ""
    assert Path.cwd() == before != tmp_path
