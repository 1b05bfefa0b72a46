"""A run on a hub or SuperLink that outlives it: away, started again, or another one.

A SuperLink keeps runs in memory and gives up one whose driver is silent for a minute. So
the run process keeps what it needs to begin again: the app's bundle. When nobody answers it
waits; when somebody answers who no longer knows the run it starts it there once more, as
another run of Flower's. What was asked and not answered is asked again by the Grid.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from math import inf
from threading import Lock
from time import sleep
from typing import NoReturn, TypeVar

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FederationUnreachableError
from flip_lab.core.notice import Notice, Notify
from flip_lab.engines.background_call import BackgroundCall
from flip_lab.engines.flower.attach import Attachment, Ending, attach
from flip_lab.engines.flower.control import ControlClient, RunStanding, SuperLink
from flip_lab.engines.flower.fab import Fab
from flip_lab.engines.flower.refusals import Verdict, verdict_on

_LOG = logging.getLogger(__name__)
_PAUSES_S = (0.2, 1.5)
_LOOK_UP_S = 0.2
_FAREWELL_S = 2.0  # what a hub gets to hear that the user stopped the run
_Got = TypeVar("_Got")


class HubSession:
    """The run of this process on a hub; safe to call from several threads.

    Args:
        superlink: The hub or SuperLink.
        fab: The app for its nodes.
        wait_s: How long the run waits for a hub that is away, seconds.
        check: Called often while waiting; raises to leave.
        stopped_by: Told who stopped the run on the hub, and where; ``check`` raises then.
        notify: Told when the hub is lost, and when it is back.

    Attributes:
        back_s: When the hub was back after it was lost, by ``tick_s``; ``-inf`` at first.
    """

    def __init__(
        self,
        superlink: SuperLink,
        fab: Fab,
        *,
        wait_s: float,
        check: Callable[[], None],
        stopped_by: Callable[[str, str], None],
        notify: Notify,
    ) -> None:
        """Attach; a hub that is away now is an error at once."""
        self._superlink = superlink
        self._fab = fab
        self._wait_s = wait_s
        self._check = check
        self._stopped_by = stopped_by
        self._notify = notify
        self._recovering = Lock()
        self._retired: list[Attachment] = []
        self._withdrawn: set[int] = set()  # runs that this process stopped itself
        self._attachment = attach(superlink, fab)
        self.back_s = -inf

    @property
    def attachment(self) -> Attachment:
        """The run as it is now; another one after the hub forgot it."""
        return self._attachment

    def call(self, work: Callable[[Attachment], _Got]) -> _Got:
        """Do something with the run, as often as it takes.

        Args:
            work: What to do; done again on another attachment if the hub was lost.

        Raises:
            FederationUnreachableError: If the hub is away for longer than the run waits,
                or if it refuses us; if somebody stopped the run on the hub, and ``check``
                does not raise for that.
        """
        while True:
            attachment = self._attachment
            try:
                return self._heedfully(lambda: work(attachment))  # noqa: B023  # done before the next turn
            except FederationUnreachableError as error:
                self._recover(attachment, error)

    def _heedfully(self, work: Callable[[], _Got]) -> _Got:
        """Do what may hang, where a network swallows all; who would stop need not wait.

        A call that is left alone ends by its own time-out, or with the process.
        """
        call = BackgroundCall(work)
        while not call.is_over(_LOOK_UP_S):
            self._check()
        return call.outcome()

    def _recover(self, attachment: Attachment, error: FederationUnreachableError) -> None:
        """Come back when the hub can be worked with again.

        Raises:
            FederationUnreachableError: If it cannot, or should not.
        """
        with self._recovering:
            if attachment is not self._attachment:
                return  # another thread was faster
            verdict = verdict_on(error)
            if verdict is Verdict.FINAL:
                raise error
            since_s = tick_s()
            if verdict is Verdict.OUSTED:
                verdict = self._ask_why(attachment)
            self._tell_lost(error)
            is_new = self._come_back(attachment, verdict, since_s)
            self.back_s = tick_s()
            self._tell_back(tick_s() - since_s, is_new=is_new)

    def _ask_why(self, attachment: Attachment) -> Verdict:
        """Ask a hub that takes no more orders whether somebody stopped the run there.

        Nothing is lost then; nobody is told so before this is known.

        Returns:
            What to come back from: the hub may go away while it is asked.

        Raises:
            FederationUnreachableError: If somebody did, see ``_end_if_stopped``; if the hub
                refuses this question, too.
        """
        try:
            standing = self._heedfully(lambda: self._standing_of(attachment))
        except FederationUnreachableError as error:
            return self._next(Verdict.OUSTED, error)
        self._end_if_stopped(standing)
        return Verdict.OUSTED

    def _come_back(self, attachment: Attachment, verdict: Verdict, since_s: float) -> bool:
        """Try until the hub takes orders; gives whether the run was started again."""
        pause_s = _PAUSES_S[0]
        while True:
            try:
                if verdict is Verdict.OUSTED:
                    self._heedfully(lambda: self._begin_again(attachment))
                else:
                    self._heedfully(attachment.online_node_ids)
            except FederationUnreachableError as error:
                verdict = self._next(verdict, error)
                if tick_s() - since_s >= self._wait_s:
                    self._give_up(error)
            else:
                return verdict is Verdict.OUSTED
            if verdict is Verdict.AWAY:
                self._pause(pause_s)
                pause_s = min(pause_s * 1.5, _PAUSES_S[1])

    @staticmethod
    def _next(before: Verdict, error: FederationUnreachableError) -> Verdict:
        """Judge what an attempt to come back met.

        Raises:
            FederationUnreachableError: If another attempt would meet it too.
        """
        verdict = verdict_on(error)
        # Refused while beginning again: it is our token that nobody takes.
        is_refused = before is verdict is Verdict.OUSTED
        if verdict is Verdict.FINAL or is_refused:
            raise error
        # A hub that was asked to begin again and went away has forgotten us even so.
        return verdict

    def _begin_again(self, old: Attachment) -> None:
        """Start the run once more where nobody knows it.

        Raises:
            FederationUnreachableError: Also if somebody stopped it there on purpose.
        """
        run_id = old.run.run_id
        with ControlClient(self._superlink) as control:
            standing = control.find_run(run_id)
            if run_id not in self._withdrawn:
                self._end_if_stopped(standing)  # also while the hub was away
            if standing is not None and not standing.is_finished:
                self._withdrawn.add(run_id)
                with suppress(FederationUnreachableError):
                    control.stop_run(run_id)
        _LOG.info(
            "Nobody drives run %s any more (%s); starting it again.", run_id, standing
        )
        fresh = attach(self._superlink, self._fab)
        old.retire()
        self._retired.append(old)  # another thread may be using it
        self._attachment = fresh

    def _standing_of(self, attachment: Attachment) -> RunStanding | None:
        with ControlClient(self._superlink) as control:
            return control.find_run(attachment.run.run_id)

    def _end_if_stopped(self, standing: RunStanding | None) -> None:
        """End the run if somebody stopped it there on purpose.

        Raises:
            FederationUnreachableError: If so, and ``check`` does not raise for that.
        """
        if standing is None or not standing.is_stopped:
            return
        self._stopped_by(standing.stopped_by, self._superlink.address)
        self._check()
        raise FederationUnreachableError(
            f"Somebody stopped this run on the SuperLink at {self._superlink.address}; it "
            f"says: {standing}.",
            fix="Unless that was on purpose, run.resume_from_checkpoint() goes on after "
            "the last round that ended.",
        )

    def _give_up(self, error: FederationUnreachableError) -> NoReturn:
        """Let the run fail.

        Raises:
            FederationUnreachableError: Always.
        """
        raise FederationUnreachableError(
            f"The hub was away for longer than the {self._wait_s:.0f} s that this run "
            f"waits. {error.what}",
            fix="Resume the run when the hub is back, or let it wait longer: hub-wait-s in "
            "flip-lab.toml.",
        ) from error.__cause__

    def _pause(self, duration_s: float) -> None:
        end_s = tick_s() + duration_s
        while (rest_s := end_s - tick_s()) > 0:
            self._check()
            sleep(min(rest_s, _LOOK_UP_S))

    def _tell_lost(self, error: FederationUnreachableError) -> None:
        told = f"{error.what} The run waits for it, {self._wait_s:.0f} s at most."
        self._notify(Notice(code="hub_lost", message=told))

    def _tell_back(self, away_s: float, *, is_new: bool) -> None:
        how = "It still knows this run."
        if is_new:
            how = (
                "The run was started there again; what is not answered yet is asked again."
            )
        told = f"The hub is back after {away_s:.1f} s. {how}"
        self._notify(Notice(code="hub_back", message=told))

    def close(self, ending: Ending, details: str = "") -> None:
        """Tell the hub how the run ended, and let go of it."""
        attachment = self._attachment
        if ending is Ending.STOPPED:  # somebody waits for it
            BackgroundCall(lambda: attachment.close(ending, details)).is_over(_FAREWELL_S)
        else:
            attachment.close(ending, details)
        for attachment in self._retired:
            attachment.close(None)
