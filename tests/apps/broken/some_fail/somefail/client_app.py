"""somefail: A Flower App that is broken on purpose."""

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

# Flower ClientApp
app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Fail on partition 1, give the received model back elsewhere."""
    if context.node_config["partition-id"] == 1:
        raise ValueError("partition 1 fails on purpose")
    content = RecordDict(
        {"arrays": msg.content["arrays"], "metrics": MetricRecord({"num-examples": 1})}
    )
    return Message(content=content, reply_to=msg)
