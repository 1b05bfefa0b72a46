"""legacyexample: A Flower / NumPy app."""

from flwr.client import Client, NumPyClient  # noqa: TID251  # what this app is about
from flwr.clientapp import ClientApp
from flwr.common import Context, NDArrays, Scalar  # noqa: TID251  # as above

from legacyexample.task import load_data, mean_squared_error, train


class FlowerClient(NumPyClient):
    """Define Flower Client."""

    def __init__(self, partition_id: int, local_epochs: int, learning_rate: float) -> None:
        self.data = load_data(partition_id)
        self.local_epochs = local_epochs
        self.learning_rate = learning_rate

    def fit(
        self,
        parameters: NDArrays,
        config: dict[str, Scalar],  # noqa: ARG002  # Flower's signature
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Train the model with data of this client."""
        weights = train(parameters[0], self.data, self.local_epochs, self.learning_rate)
        metrics = {"train_mse": mean_squared_error(weights, self.data)}
        return [weights], len(self.data[0]), metrics

    def evaluate(
        self,
        parameters: NDArrays,
        config: dict[str, Scalar],  # noqa: ARG002  # Flower's signature
    ) -> tuple[float, int, dict[str, Scalar]]:
        """Evaluate the model on the data this client has."""
        loss = mean_squared_error(parameters[0], self.data)
        return loss, len(self.data[0]), {"eval_mse": loss}


def client_fn(context: Context) -> Client:
    """Construct a Client that will be run in a ClientApp."""
    return FlowerClient(
        context.node_config["partition-id"],
        context.run_config["local-epochs"],
        context.run_config["learning-rate"],
    ).to_client()


# Flower ClientApp
app = ClientApp(client_fn=client_fn)
