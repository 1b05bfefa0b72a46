"""legacyexample: A Flower / NumPy app."""

from flwr.common import Context, Metrics, ndarrays_to_parameters  # noqa: TID251  # as below
from flwr.server import ServerAppComponents, ServerConfig  # noqa: TID251  # this app is about
from flwr.server.strategy import FedAvg  # noqa: TID251  # Flower's older API
from flwr.serverapp import ServerApp

from legacyexample.task import get_dummy_model


def weighted_average(metrics: list[tuple[int, Metrics]]) -> Metrics:
    """Average each metric over the clients, weighted by their examples."""
    total = sum(num_examples for num_examples, _ in metrics)
    names = metrics[0][1]
    return {
        name: sum(num * values[name] for num, values in metrics) / total for name in names
    }


def server_fn(context: Context) -> ServerAppComponents:
    """Construct components that set the ServerApp behaviour."""
    strategy = FedAvg(
        fraction_fit=context.run_config["fraction-train"],
        fraction_evaluate=context.run_config["fraction-evaluate"],
        fit_metrics_aggregation_fn=weighted_average,
        evaluate_metrics_aggregation_fn=weighted_average,
        initial_parameters=ndarrays_to_parameters([get_dummy_model()]),
    )
    config = ServerConfig(num_rounds=context.run_config["num-server-rounds"])
    return ServerAppComponents(strategy=strategy, config=config)


# Create ServerApp
app = ServerApp(server_fn=server_fn)
