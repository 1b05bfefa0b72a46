"""The tables of facts: what happened in a run, round by round and client by client."""

from __future__ import annotations

from flip_lab.store.schema_parts import (
    EXAMPLES,
    NODE,
    PARTITION,
    PHASE,
    ROUND,
    RUN,
    SCOPE,
    SEQUENCE,
    TIME,
    Column,
    Table,
    count,
    json,
    moment,
    real,
    size,
    text,
)

ROUNDS = Table(
    name="rounds",
    meaning="One round that began.",
    order_by=("run_id", "server_round"),
    columns=(
        RUN,
        ROUND,
        moment("started_at", "When the round began."),
        moment("ended_at", "When it ended; missing while it runs.", nullable=True),
        real(
            "duration_s",
            "How long it took; missing while it runs.",
            unit="s",
            nullable=True,
        ),
        count("num_clients", "Nodes that replied or failed, each once.", sql_type="BIGINT"),
        count("num_failed", "Those that failed in any phase.", sql_type="BIGINT"),
        size("bytes_down", "Sent to clients, all phases."),
        size("bytes_up", "Received from clients, all phases."),
    ),
)

METRICS = Table(
    name="metrics",
    meaning="One number about the whole federation.",
    order_by=("run_id", "sequence"),
    columns=(
        RUN,
        SEQUENCE,
        TIME,
        ROUND,
        PHASE,
        SCOPE,
        text("name", "The metric, such as train_loss or eval_accuracy."),
        real("value", "Its value; NaN and the infinities are kept."),
    ),
)

CLIENTS = Table(
    name="clients",
    meaning="What one client did in one phase of one round.",
    order_by=("run_id", "sequence"),
    columns=(
        RUN,
        SEQUENCE,
        TIME,
        ROUND,
        PHASE,
        NODE,
        PARTITION,
        EXAMPLES,
        moment(
            "started_at", "When the client began; missing if not finite.", nullable=True
        ),
        real("duration_s", "How long it took.", unit="s"),
        size("bytes_down", "Sent to the client."),
        size("bytes_up", "Received from it."),
        Column(
            name="metrics",
            sql_type="MAP(VARCHAR, DOUBLE)",
            meaning="The numbers it reported, by name.",
        ),
        count(
            "error_code",
            "Flower's error code; 0 when it replied well, 100 when it was late.",
        ),
        text("error", "What it raised, with the traceback's tail; empty when well."),
        text("digest", "128-bit hash of its reply; empty where none was taken."),
    ),
)

CLIENT_METRICS = Table(
    name="client_metrics",
    meaning="One number that one client reported: clients.metrics in long form.",
    order_by=("run_id", "server_round", "phase", "partition_id", "node_id", "name"),
    columns=(
        RUN,
        ROUND,
        PHASE,
        NODE,
        PARTITION,
        EXAMPLES,
        text("name", "The metric."),
        real("value", "Its value; NaN and the infinities are kept."),
    ),
)

EVENTS = Table(
    name="events",
    meaning="One fact of a run, superseded or not; other tables are readings of these.",
    order_by=("run_id", "sequence"),
    columns=(
        RUN,
        SEQUENCE,
        TIME,
        ROUND,
        text(
            "kind",
            "state, round_started, round_ended, dispatched, client, metric, artifact, "
            "checkpoint, lineage, control, settings, logged, resource or warning.",
        ),
        json("body", "The content; its keys depend on the kind."),
    ),
)

ARTIFACTS = Table(
    name="artifacts",
    meaning="One file that a run kept.",
    order_by=("run_id", "sequence"),
    columns=(
        RUN,
        SEQUENCE,
        ROUND,
        text("name", "What the run calls it; model is the final model."),
        text("sha256", "Hash of its content, by which the lab keeps it."),
        size("size_bytes", "Its length."),
        text("media_type", "What kind of file it is.", nullable=True),
    ),
)

LOGGED = Table(
    name="logged",
    meaning="One thing that code of the app logged, besides numbers: those are metrics.",
    order_by=("run_id", "sequence"),
    columns=(
        RUN,
        SEQUENCE,
        TIME,
        ROUND,
        PHASE,
        count(
            "node_id",
            "The node whose client logged it; missing when the server or a callback did.",
            sql_type="UBIGINT",
            nullable=True,
        ),
        count("partition_id", "That node's slice of the data.", nullable=True),
        text("name", "What the app calls it."),
        text("type", "histogram, image or confusion_matrix."),
        json(
            "value",
            "edges, counts and num_not_finite of a histogram; width, height and "
            "size_bytes of an image; counts, row by row, and labels of a confusion matrix.",
            nullable=True,
        ),
        text(
            "sha256",
            "Hash of an image's PNG, by which the lab keeps it; missing for others.",
            nullable=True,
        ),
    ),
)

RESOURCES = Table(
    name="resources",
    meaning="One number about the processes of a run, taken every few seconds.",
    order_by=("run_id", "sequence", "name"),
    columns=(
        RUN,
        SEQUENCE,
        TIME,
        ROUND,
        text(
            "name",
            "cpu_percent (100 is one processor), rss_mib, num_processes or disk_free_mib.",
        ),
        real("value", "Its value; the name says the unit."),
    ),
)

SPANS = Table(
    name="spans",
    meaning="One stretch of time, nested: run, round, client or checkpoint.",
    order_by=("run_id", "started_at", "span_id"),
    columns=(
        RUN,
        text("trace_id", "32 hexadecimal digits, the same for all spans of a run."),
        text("span_id", "16 hexadecimal digits."),
        text("parent_span_id", "The span around it.", nullable=True),
        text("name", "run, round, client or checkpoint."),
        moment("started_at", "When it began.", nullable=True),
        real(
            "duration_s",
            "How long it took; missing while it goes on.",
            unit="s",
            nullable=True,
        ),
        text("status", "ok, error or unset."),
        json("attributes", "The round, the phase, the node, the error code."),
    ),
)
