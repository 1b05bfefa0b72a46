"""legacyexample: A Flower / NumPy app."""

import numpy as np

NUM_FEATURES = 5


def load_data(partition_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw 100 examples of the same line, seen by this partition with its own noise."""
    rng = np.random.default_rng(partition_id)
    features = rng.normal(size=(100, NUM_FEATURES))
    targets = features @ np.arange(1.0, NUM_FEATURES + 1) + 0.1 * rng.normal(size=100)
    return features, targets


def get_dummy_model() -> np.ndarray:
    """Give the weights to start from."""
    return np.zeros(NUM_FEATURES)


def train(
    weights: np.ndarray, data: tuple[np.ndarray, np.ndarray], epochs: int, lr: float
) -> np.ndarray:
    """Take steps of gradient descent on the mean squared error."""
    features, targets = data
    for _ in range(epochs):
        gradient = 2 * features.T @ (features @ weights - targets) / len(targets)
        weights = weights - lr * gradient
    return weights


def mean_squared_error(weights: np.ndarray, data: tuple[np.ndarray, np.ndarray]) -> float:
    """Give the mean squared error of the line."""
    features, targets = data
    return float(np.mean((features @ weights - targets) ** 2))
