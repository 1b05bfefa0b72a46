"""somefail: A Flower App that is broken on purpose."""

import numpy as np


def get_dummy_model() -> np.ndarray:
    """Give the weights to start from."""
    return np.zeros(3)
