"""Federated averaging by hand, as lean as we can write it: what engines are measured by.

The model and all results lie in one piece of shared memory. A client trains right where
its result belongs, so its model is copied once; a task is 8 bytes in a pipe, taken by
whichever process is free; the average is one product of a vector and a matrix.
"""

from __future__ import annotations

import math
import mmap
import os
import select
import struct
from collections.abc import Sequence

import torch
from engine_gate import Gate
from engine_training import initial_parameters, load_partition, shapes, train_client
from engine_workloads import Workload
from torch import Tensor

_TASK = struct.Struct("ii")


class Board:
    """The model and the results of one round, in memory that a fork shares."""

    def __init__(self, workload: Workload) -> None:
        """Lay out one row for the model and one for each client of a cohort."""
        self._workload = workload
        sizes = [math.prod(shape) for shape in shapes(workload.model).values()]
        memory = mmap.mmap(-1, 4 * sum(sizes) * (workload.cohort + 1))
        rows = torch.frombuffer(memory, dtype=torch.float32)
        rows = rows.view(workload.cohort + 1, sum(sizes))
        self._model, self._results = rows[:1], rows[1:]
        self._weights = torch.full((1, workload.cohort), 1 / workload.cohort)
        self.parameters = self._views(rows[0])
        self._slots = [
            [view.requires_grad_() for view in self._views(row)] for row in self._results
        ]
        for view, value in zip(self.parameters, initial_parameters(workload), strict=True):
            view.copy_(value)

    def _views(self, row: Tensor) -> list[Tensor]:
        wanted = shapes(self._workload.model).values()
        parts = row.split([math.prod(shape) for shape in wanted])
        return [part.view(shape) for part, shape in zip(parts, wanted, strict=True)]

    def train(self, slot: int, partition_id: int) -> None:
        """Train one client on the model, in its slot."""
        self._results[slot].copy_(self._model[0])
        train_client(self._workload, self._slots[slot], partition_id)

    def average(self) -> None:
        """Make the mean of the results the model."""
        torch.mm(self._weights, self._results, out=self._model)


def one_process(workload: Workload, gate: Gate) -> None:
    """Run rounds in this process alone."""
    board, server_round = Board(workload), 1
    while gate.round_begins(server_round, lambda: board.parameters):
        for slot, partition_id in enumerate(workload.draw_cohort(server_round)):
            board.train(slot, partition_id)
        board.average()
        server_round += 1


def two_processes(workload: Workload, gate: Gate) -> None:
    """Run rounds in this process and a child of it, which share the clients."""
    load_partition(0, 1)  # make the data before the fork: it is shared then
    board, server_round = Board(workload), 1
    tasks, to_do = os.pipe()
    done, finished = os.pipe()
    os.set_blocking(tasks, False)
    child = os.fork()
    if child == 0:
        os.close(to_do)
        _help(board, tasks, finished)
        os._exit(0)
    while gate.round_begins(server_round, lambda: board.parameters):
        _share_out(to_do, workload.draw_cohort(server_round))
        left = workload.cohort - _work(board, tasks)
        while left:
            left -= sum(os.read(done, workload.cohort))
        board.average()
        server_round += 1
    os.close(to_do)
    os.waitpid(child, 0)


def _share_out(to_do: int, cohort: Sequence[int]) -> None:
    os.write(to_do, b"".join(_TASK.pack(*task) for task in enumerate(cohort)))


def _work(board: Board, tasks: int) -> int:
    """Train clients until the pipe is empty; give how many, -1 when it is closed."""
    count = 0
    while True:
        try:
            task = os.read(
                tasks, _TASK.size
            )  # whole tasks: a pipe has one reader at a time
        except BlockingIOError:
            return count
        if not task:
            return -1
        board.train(*_TASK.unpack(task))
        count += 1


def _help(board: Board, tasks: int, finished: int) -> None:
    """Be the second process, until the first closes the pipe."""
    waiting = select.poll()
    waiting.register(tasks, select.POLLIN)
    while True:
        waiting.poll()
        count = _work(board, tasks)
        if count < 0:
            return
        if count:
            os.write(finished, bytes([count]))
