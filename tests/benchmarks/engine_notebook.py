"""An app as the cells of a notebook define it: in ``__main__``, with a large global."""

from __future__ import annotations

import sys

from flwr.clientapp import ClientApp

_CELLS = """
import numpy as np
from flwr.clientapp import ClientApp
import engine_app

table = np.ones(50_000_000 // 8)  # 50 MB that every client touches
notebook_client = ClientApp()

@notebook_client.train()
def train_with_table(message, context):
    assert table[context.node_config["partition-id"]] == 1.0
    return engine_app.train(message, context)
"""


def define_client() -> ClientApp:
    """Run the cells, and give the ClientApp that they define."""
    main = sys.modules["__main__"]
    exec(compile(_CELLS, "<cell>", "exec"), vars(main))  # noqa: S102  # as a kernel does
    return vars(main)["notebook_client"]
