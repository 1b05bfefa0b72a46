"""sklearnexample: A Flower / scikit-learn app."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

NUM_CLASSES = 10
NUM_FEATURES = 64


def load_data(
    partition_id: int, num_partitions: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load one partition of the digits, split into 80 % train and 20 % test."""
    digits = load_digits()
    features = digits.data[partition_id::num_partitions] / 16
    labels = digits.target[partition_id::num_partitions]
    cut = int(0.8 * len(labels))
    return features[:cut], features[cut:], labels[:cut], labels[cut:]


def create_log_reg_and_instantiate_parameters(
    penalty_strength: float, local_epochs: int
) -> LogisticRegression:
    """Create a model whose parameters exist before it is trained."""
    model = LogisticRegression(
        C=penalty_strength,
        max_iter=local_epochs,  # local epochs
        warm_start=True,  # prevent refreshing weights when fitting
    )
    model.classes_ = np.arange(NUM_CLASSES)
    set_model_params(
        model, [np.zeros((NUM_CLASSES, NUM_FEATURES)), np.zeros((NUM_CLASSES,))]
    )
    return model


def get_model_parameters(model: LogisticRegression) -> list[np.ndarray]:
    """Give the parameters of the model."""
    return [model.coef_, model.intercept_]


def set_model_params(model: LogisticRegression, params: list[np.ndarray]) -> None:
    """Set the parameters of the model."""
    model.coef_ = params[0]
    model.intercept_ = params[1]
