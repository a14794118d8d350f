"""How the weights are updated: the optimizers, as the training loop uses them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..bert import unwrapped
from ..devices import kind
from .row_adam import RowAdam, catch_up_saved

_MANY_ROWS = 10_000  # an embedding with fewer rows is updated faster as a whole


class Updater:
    """An optimizer in the loop: it prepares a step, adds gradients, takes the step, ends an epoch.

    `trainer` is any of torch's optimizers. `clip` is the largest norm of the gradient. In fp16 the
    losses are scaled, because small gradients would become zero.
    """

    def __init__(
        self,
        net: nn.Module,
        trainer: torch.optim.Optimizer,
        clip: float | None = None,
        precision: str = "fp32",
    ):
        self.net, self.trainer, self.clip = net, trainer, clip
        device = next(net.parameters()).device
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    @property
    def own_parameters(self) -> tuple[Tensor, ...]:
        """The parameters whose gradients it exchanges among processes itself."""
        return ()

    @property
    def lr(self) -> float:
        """The learning rate of the current step."""
        return float(self.trainer.param_groups[0]["lr"])

    def prepare(self, lr: float | None = None) -> None:
        """Set the learning rate of the next step (None: leave it), and clear the gradients."""
        if lr is not None:
            self._set_lr(lr)
        self.trainer.zero_grad()

    def _set_lr(self, lr: float) -> None:
        for group in self.trainer.param_groups:
            group["lr"] = lr

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self.scaler.scale(loss).backward()

    def step(self) -> None:
        """Clip the gradients and update the parameters."""
        if self.clip is not None:
            self.scaler.unscale_(self.trainer)
            clip_gradients(self.net.parameters(), self.clip)
        self.scaler.step(self.trainer)
        self.scaler.update()

    def end_epoch(self) -> None:
        """Bring all parameters up to date before they are read."""

    def state_dict(self) -> dict:
        """Return what a checkpoint holds of it."""
        return {"trainer": self.trainer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, saved: dict) -> None:
        """Go back to a checkpoint; the rows of its `net` are first brought up to date."""
        names = [name for name, _ in unwrapped(self.net).named_parameters()]
        catch_up_saved(saved["net"], saved["trainer"], names)
        self._load(saved)

    def _load(self, saved: dict) -> None:
        groups = self.trainer.param_groups
        own = [{name: group[name] for name in ("lr", "capturable")} for group in groups]
        self.trainer.load_state_dict(saved["trainer"])  # perhaps from another kind of device
        for group, options in zip(self.trainer.param_groups, own, strict=True):
            group.update(options)
        self.scaler.load_state_dict(saved["scaler"])


class CapturableUpdater(Updater):
    """An Adam whose learning rate is in the GPU's memory, where captured kernels read it."""

    def _set_lr(self, lr: float) -> None:
        for group in self.trainer.param_groups:
            group["lr"].fill_(lr)


class RowUpdater(Updater):
    """A `RowAdam` in the loop, inside its `with` block."""

    trainer: RowAdam

    @property
    def own_parameters(self) -> tuple[Tensor, ...]:
        """The embedding, whose gradient is sparse."""
        return (self.trainer.embedding.weight,)

    def step(self) -> None:
        """Gather the gradients of all rows before they are scaled back and clipped."""
        self.trainer.gather()
        super().step()

    def end_epoch(self) -> None:
        """Make the moves that rows of the embedding have missed."""
        self.trainer.catch_up()

    def load_state_dict(self, saved: dict) -> None:
        """Go back to a checkpoint, including the moves that its rows have missed."""
        self._load(saved)


@contextmanager
def adam(
    net: nn.Module,
    lr: float,
    clip: float | None = None,
    precision: str = "fp32",
    from_all: Callable[[Tensor], list[Tensor]] | None = None,
) -> Iterator[Updater]:
    """Give torch's Adam, in its fastest form for a `BERTClassifier`.

    `from_all` collects a tensor from all processes, if there are several.
    """
    embedding = unwrapped(net).encoder.token_embedding
    weight = embedding.weight
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    alone = len(learning) == 1  # DDP must get a parameter, and a RowAdam keeps the embedding
    many_rows = weight.requires_grad and len(weight) >= _MANY_ROWS and not alone
    trainer: torch.optim.Adam
    if kind(weight.device) == "cpu" and many_rows:
        with RowAdam(net.parameters(), embedding, lr, from_all) as trainer:
            yield RowUpdater(net, trainer, clip, precision)
    elif kind(weight.device) == "cuda":
        on_gpu = torch.tensor(lr, device=weight.device)
        trainer = torch.optim.Adam(net.parameters(), on_gpu, fused=True, capturable=True)
        yield CapturableUpdater(net, trainer, clip, precision)
    else:
        trainer = torch.optim.Adam(net.parameters(), lr, fused=True)
        yield Updater(net, trainer, clip, precision)


def clip_gradients(parameters: Iterable[nn.Parameter], largest_norm: float) -> None:
    """Scale all gradients, sparse ones too, so that their common norm is at most this."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    gradients = [grad.values() if grad.is_sparse else grad for grad in gradients]
    norm = nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (largest_norm / (norm + 1e-6)).clamp(max=1.0))
