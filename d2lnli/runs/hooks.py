"""Hooks that record a training, show it, and keep its checkpoints."""

from ..history import History, Record
from ..show.live import LivePlot, Progress
from .folder import RunFolder
from .hook import Hook
from .ranks import Agreement
from .state import RunState
from .stop_button import StopButton

_CHECK_EVERY = 16  # minibatches between two checks that the loss is finite


class Recorder(Hook):
    """It adds a record to the history twenty times an epoch, and shows the progress."""

    def __init__(self, progress: Progress):
        self.progress, self.history = progress, progress.history

    @classmethod
    def of(
        cls,
        state: RunState,
        num_epochs: int,
        history: History,
        split: str | None,
        run: RunFolder | None = None,
        plot: bool = True,
    ) -> "Recorder":
        """Return a recorder with a bar and perhaps a live plot, which keeps a run's history."""
        steps_left = num_epochs * state.num_batches - state.steps_done
        keep, pass_on = (run.save_history, run.pass_on) if run else (None, None)
        live, is_shown = LivePlot(num_epochs, split, plot), state.ranks.rank == 0
        return cls(Progress(live, steps_left, history, keep, pass_on, is_shown))

    def __enter__(self) -> "Recorder":
        self.progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.__exit__(*error)

    def after_step(self, state: RunState) -> None:
        """Move the bar, report each twentieth of an epoch, and check the loss in between."""
        self.history.num_classes = state.meter.num_classes
        self.progress.advance(state.provisional_record)
        if state.is_twentieth():
            self.progress.report(state.record())
            state.meter.begin_twentieth()
        elif state.batches_done % _CHECK_EVERY == 0:
            state.record()

    def after_epoch(self, state: RunState, record: Record) -> None:
        """Report the whole epoch."""
        self.progress.report(record)

    def after_interrupt(self, state: RunState) -> None:
        """Mark the history as unfinished."""
        self.history.interrupted = True


class Checkpoints(Hook):
    """It writes a checkpoint after each epoch, every few minutes, and after an interrupt."""

    def __init__(self, run: RunFolder, settings: dict, history: History, button: StopButton):
        self.run, self.settings, self.history, self.button = run, settings, history, button
        self.agreement = Agreement(run.ranks)

    def after_step(self, state: RunState) -> None:
        """Write a checkpoint if the last one is minutes old."""
        if self.agreement.on(self.run.is_due()):
            state.record()
            self.save(state)

    def after_epoch(self, state: RunState, record: Record) -> None:
        """Write a checkpoint."""
        self.save(state)

    def after_interrupt(self, state: RunState) -> None:
        """Write a checkpoint, unless the interrupt came in the middle of a step."""
        if self.button.clean:
            self.save(state)

    def save(self, state: RunState) -> None:
        """Write a checkpoint; ValueError if a weight is not finite."""
        state.check_weights()
        if self.run.save(self.settings, state.state_dict(), self.history):
            place = f"minibatch {state.batches_done} of epoch {state.epoch + 1}"
            state.checkpoint_hint = f". {self.run.path} is from {place}"
