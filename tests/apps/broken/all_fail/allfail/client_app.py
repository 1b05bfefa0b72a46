"""allfail: A Flower App that is broken on purpose."""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

# Flower ClientApp
app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:  # noqa: ARG001  # Flower's signature
    """Fail on every node."""
    raise ValueError("every client fails on purpose")
