"""sklearnexample: A Flower / scikit-learn app."""

import warnings

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sklearnexample.task import (
    create_log_reg_and_instantiate_parameters,
    get_model_parameters,
    load_data,
    set_model_params,
)

# Flower ClientApp
app = ClientApp()


def received_model(msg: Message, context: Context) -> LogisticRegression:
    """Create a model with the received parameters."""
    model = create_log_reg_and_instantiate_parameters(
        context.run_config["penalty-strength"], context.run_config["local-epochs"]
    )
    set_model_params(model, msg.content["arrays"].to_numpy_ndarrays())
    return model


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train the model on local data."""
    model = received_model(msg, context)
    partition_id = context.node_config["partition-id"]
    num_partitions = context.node_config["num-partitions"]
    x_train, _, y_train, _ = load_data(partition_id, num_partitions)

    # Ignore convergence failure due to low local epochs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x_train, y_train)

    # Construct and return reply Message
    model_record = ArrayRecord(get_model_parameters(model))
    metrics = {
        "train_logloss": log_loss(y_train, model.predict_proba(x_train)),
        "num-examples": len(x_train),
    }
    content = RecordDict({"arrays": model_record, "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate the model on local data."""
    model = received_model(msg, context)
    partition_id = context.node_config["partition-id"]
    num_partitions = context.node_config["num-partitions"]
    _, x_test, _, y_test = load_data(partition_id, num_partitions)

    # Construct and return reply Message
    metrics = {
        "test_logloss": log_loss(
            y_test, model.predict_proba(x_test), labels=model.classes_
        ),
        "accuracy": model.score(x_test, y_test),
        "num-examples": len(x_test),
    }
    content = RecordDict({"metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)
