"""A Flower App of any size, one client of which may misbehave in one round."""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

server_app = ServerApp()
client_app = ClientApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Average as many numbers for as many rounds as the configuration says."""
    zeros = np.zeros(int(context.run_config["num-values"]), dtype=np.float32)
    FedAvg(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1).start(
        grid=grid,
        initial_arrays=ArrayRecord([zeros]),
        num_rounds=int(context.run_config["num-server-rounds"]),
    )


def misbehaved(values: np.ndarray, mischief: str) -> np.ndarray:
    """Make of a good reply what a broken or malicious client could send."""
    if mischief == "shapes":
        return values[:-1]
    if mischief == "nan":
        return np.full_like(values, np.nan)
    if mischief == "huge":
        return np.zeros(50_000_000, dtype=np.float32)
    return values


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Add one to every number, or do what must not be done."""
    config = context.run_config
    [values] = message.content.array_records["arrays"].to_numpy_ndarrays()
    values = values + 1
    server_round = message.content.config_records["config"]["server-round"]
    is_rogue = context.node_config["partition-id"] == config["rogue-partition"]
    if is_rogue and server_round == config["rogue-round"]:
        values = misbehaved(values, str(config["mischief"]))
    metrics = {"num-examples": 1, "first": float(values[0])}
    content = {"arrays": ArrayRecord([values]), "metrics": MetricRecord(metrics)}
    return Message(RecordDict(content), reply_to=message)
