"""numpyexample: A Flower / NumPy app."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from numpyexample.task import load_data, mean_squared_error
from numpyexample.task import train as train_fn

# Flower ClientApp
app = ClientApp()


def count_round(context: Context) -> int:
    """Count the rounds that this client trained in, in the state that it keeps."""
    if "counter" not in context.state:
        context.state["counter"] = MetricRecord({"rounds": 0})
    counter = context.state["counter"]
    counter["rounds"] += 1
    return counter["rounds"]


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train the model on local data."""
    [weights] = msg.content["arrays"].to_numpy_ndarrays()
    data = load_data(context.node_config["partition-id"])
    weights = train_fn(
        weights,
        data,
        context.run_config["local-epochs"],
        context.run_config["learning-rate"],
    )

    # Construct and return reply Message
    metrics = {
        "train_mse": mean_squared_error(weights, data),
        "rounds-trained": count_round(context),
        "num-examples": len(data[0]),
    }
    content = RecordDict(
        {"arrays": ArrayRecord([weights]), "metrics": MetricRecord(metrics)}
    )
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate the model on local data."""
    [weights] = msg.content["arrays"].to_numpy_ndarrays()
    data = load_data(context.node_config["partition-id"])

    # Construct and return reply Message
    metrics = {"eval_mse": mean_squared_error(weights, data), "num-examples": len(data[0])}
    content = RecordDict({"metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)
