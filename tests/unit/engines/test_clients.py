"""One client's turn: whatever the ClientApp raises becomes an answer, not the run's end."""

from __future__ import annotations

import sys

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from flip_lab.engines.clients import ClientCall, ClientSetting, call_client
from flip_lab.engines.flower.messages import become_server, stamp

_SETTING = ClientSetting(run_number=7, seed=0, num_nodes=1, run_config={})


def test_a_client_that_exits_is_a_client_that_failed() -> None:
    """In process its exit would end the server too; on real nodes it ends the client."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        del message, context
        sys.exit("no data here")

    become_server(_SETTING.run_number)
    message = Message(RecordDict(), dst_node_id=1, message_type="train")
    stamp(message, "message-1")
    call = ClientCall(
        message=message, partition_id=0, server_round=1, phase="train", state=RecordDict()
    )
    outcome = call_client(app, call, _SETTING)
    assert outcome.reply is None
    assert outcome.state is None
    assert outcome.error.startswith("SystemExit: no data here")
