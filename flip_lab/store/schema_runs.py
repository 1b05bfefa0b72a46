"""The tables about whole runs: what was asked, where they stand, what they add up to."""

from __future__ import annotations

from flip_lab.store.schema_parts import (
    PHASE,
    RUN,
    SCOPE,
    SEQUENCE,
    TIME,
    Column,
    Table,
    count,
    flag,
    json,
    moment,
    real,
    size,
    text,
)

LABELS = ("tags", "note", "is_archived")
"""Columns of ``runs`` that change after the end; they are read from the lab's log."""

RUNS = Table(
    name="runs",
    meaning="One run: what was asked, where it stands, what it is made of.",
    order_by=("run_id",),
    columns=(
        RUN,
        text("name", "The name it was launched under."),
        text("kind", "What was launched: scenario, app or notebook; or imported."),
        text("experiment", "What it belongs to; its own name unless the launch said."),
        text("sweep", "The sweep that it was launched in.", nullable=True),
        Column(name="tags", sql_type="VARCHAR[]", meaning="Its tags now, sorted."),
        text("note", "What was noted about it last; empty when nothing was."),
        flag("is_archived", "Whether it is put away; lab.runs() leaves it out."),
        text(
            "state",
            "pending, starting, running, paused, completed, failed or stopped.",
        ),
        text("engine", "Where it ran: an engine; or the tool that it was imported from."),
        text("federation", "The configured federation it ran on.", nullable=True),
        count("seed", "Every random draw derives from it.", sql_type="BIGINT"),
        count(
            "num_rounds", "Rounds asked for; missing until an app has said.", nullable=True
        ),
        count("rounds_done", "The last round that ended; 0 when none did."),
        count("num_nodes", "Nodes simulated, or waited for."),
        count("workers", "Processes that trained side by side."),
        moment("created_at", "When it was launched."),
        moment("started_at", "When its process began.", nullable=True),
        moment("ended_at", "When it completed, failed or was stopped.", nullable=True),
        json("scenario", "The scenario, whole; missing for apps.", nullable=True),
        text(
            "scenario_fingerprint", "Hash of the scenario: equal when it is.", nullable=True
        ),
        json("overrides", "What the launch changed in the run configuration."),
        text("git_commit", "Commit that was checked out at launch.", nullable=True),
        flag("git_dirty", "Whether files differed from that commit.", nullable=True),
        text("data_sha256", "Hash of the data.", nullable=True),
        text("partition_sha256", "Hash of who holds which examples.", nullable=True),
        text("app_sha256", "Hash of the Flower App's files.", nullable=True),
        text("parent_run_id", "The run that it was forked from.", nullable=True),
        count("forked_at_round", "The parent's round it goes on from.", nullable=True),
        text("model_sha256", "Hash of the final model's file.", nullable=True),
        text("error_code", "Code of the error that ended a failed run.", nullable=True),
        text("error", "What went wrong in a failed run.", nullable=True),
    ),
)

PARAMETERS = Table(
    name="parameters",
    meaning="One setting of a run, whoever chose it.",
    order_by=("run_id", "name"),
    columns=(
        RUN,
        text("name", "Its name, with dots: strategy.name, train.learning_rate, seed."),
        text("value", "Its value as text; lists are JSON.", nullable=True),
        real("number", "Its value where that is a number or true or false.", nullable=True),
    ),
)

RUN_METRICS = Table(
    name="run_metrics",
    meaning="What one metric of one run adds up to.",
    order_by=("run_id", "phase", "scope", "name"),
    columns=(
        RUN,
        PHASE,
        SCOPE,
        text("name", "The metric."),
        count("num_points", "Values recorded.", sql_type="BIGINT"),
        real("first", "The first value."),
        real("last", "The last value."),
        real("min", "The smallest value that is a number.", nullable=True),
        real("max", "The largest value that is a number.", nullable=True),
        count("first_round", "Round of the first value."),
        count("last_round", "Round of the last value."),
        count("min_round", "Round of the smallest value.", nullable=True),
        count("max_round", "Round of the largest value.", nullable=True),
    ),
)

COMMANDS = Table(
    name="commands",
    meaning="One thing that a running run was asked to do: pause, set, exclude and others.",
    order_by=("run_id", "sequence"),
    columns=(
        RUN,
        SEQUENCE,
        TIME,
        count("server_round", "Round under way when it came; 0 before the first."),
        count(
            "from_round",
            "The round that it takes effect in; missing where it only says when.",
            nullable=True,
        ),
        text(
            "command",
            "pause, resume, step, stop, set, exclude, include, stop_when, break_when or "
            "clear.",
        ),
        text("author", "Who asked for it."),
        flag("is_refused", "Whether the run could not do it; the body says why."),
        json("body", "All of it: its id, its arguments, the refusal."),
    ),
)

SETTINGS = Table(
    name="settings",
    meaning="One value in force from a round on, until a later round names it again.",
    order_by=("run_id", "from_round", "scope", "name"),
    columns=(
        RUN,
        count("from_round", "The first round that it holds for."),
        text(
            "scope",
            "train and evaluate: what the clients are told; strategy: its attributes; run: "
            "Flower's run configuration, and excluded, the partitions left out.",
        ),
        text("name", "Its name there."),
        text("value", "Its value as text; lists are JSON.", nullable=True),
        real("number", "Its value where that is a number or true or false.", nullable=True),
    ),
)

EXPERIMENTS = Table(
    name="experiments",
    meaning="Runs that belong together.",
    order_by=("experiment",),
    columns=(
        text("experiment", "Its name."),
        count("num_runs", "Runs in it.", sql_type="BIGINT"),
        count("num_completed", "Those that completed.", sql_type="BIGINT"),
        count("num_sweeps", "Sweeps in it.", sql_type="BIGINT"),
        moment("first_at", "When its first run was launched."),
        moment("last_at", "When its last run was launched."),
    ),
)

SWEEPS = Table(
    name="sweeps",
    meaning="Runs that were launched to be compared.",
    order_by=("sweep",),
    columns=(
        text("sweep", "Its name."),
        text("experiment", "What it belongs to."),
        count("num_runs", "Runs in it.", sql_type="BIGINT"),
        count("num_completed", "Those that completed.", sql_type="BIGINT"),
        count("num_seeds", "Different seeds among them.", sql_type="BIGINT"),
        moment("first_at", "When its first run was launched."),
        moment("last_at", "When its last run was launched."),
    ),
)

AUDIT = Table(
    name="audit",
    meaning="One thing that somebody did in the lab.",
    order_by=("sequence",),
    columns=(
        count("sequence", "Its position, from 0.", sql_type="BIGINT"),
        moment("time_at", "When, on the clock of whoever did it."),
        text("author", "Who did it."),
        text(
            "action",
            "What was done: launch, stop, tag, archive, delete, import and others.",
        ),
        text("run_id", "The run that it was done to.", nullable=True),
        json("body", "Particulars; their keys depend on the action."),
        text("chain", "Hash of this line and all before it."),
    ),
)

MODELS = Table(
    name="models",
    meaning="One version of a registered model; it outlives its run.",
    order_by=("name", "version"),
    columns=(
        text("name", "The model."),
        count("version", "Its number, from 1; one that was deleted is not given again."),
        text("stage", "none, staging, production or archived."),
        text("sha256", "Hash of its file, a safetensors file."),
        size("size_bytes", "Length of its file."),
        count("num_parameters", "Numbers in its arrays.", sql_type="BIGINT"),
        text("run_id", "The run; missing for a file from elsewhere.", nullable=True),
        count("server_round", "The round it was aggregated in, if known.", nullable=True),
        text("artifact", "What the run called the file; of others, the file's name."),
        json("metrics", "Aggregated metrics of that round, by name."),
        text("scenario", "Name of the run's scenario or app.", nullable=True),
        text("scenario_fingerprint", "Hash of the scenario's numbers.", nullable=True),
        json("input_schema", "What it takes and gives, if known.", nullable=True),
        Column(name="tags", sql_type="VARCHAR[]", meaning="Its tags, sorted."),
        text("note", "Its note; may be empty."),
        moment("registered_at", "When it was registered."),
        text("registered_by", "Who did that."),
        moment("staged_at", "When its stage was changed last."),
        text("staged_by", "Who did that."),
    ),
)
