"""Adam for a large embedding on a CPU: a row is updated when a minibatch reads it.

A minibatch has some thousand of a vocabulary's 60,000 words. The gradient of the other rows is
zero, but Adam's momentum still moves them, by less in each step. `RowAdam` makes these moves at
once when a minibatch next reads the row. The numbers are Adam's, and a step costs only as much as
its own words.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_MEMORY = 400  # steps after which momentum, times 0.9 in each, no longer changes a float


class RowAdam(torch.optim.Adam):
    """torch's Adam with its default betas and eps, which delays the rows of one embedding.

    Inside its `with` block the embedding's gradient is sparse, and the embedding updates the rows
    that it reads. Call `catch_up()` before you read `embedding.weight` there, and `gather()` before
    you read its gradient. `from_all` collects a tensor from all processes, if there are several.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        embedding: nn.Embedding,
        lr: float,
        from_all: Callable[[Tensor], list[Tensor]] | None = None,
    ):
        super().__init__(params, lr=lr, fused=True)
        self._step_supports_amp_scaling = False  # so that a GradScaler skips steps as a whole
        self.embedding, self.from_all = embedding, from_all
        self.parts: list[tuple[Tensor, Tensor]] = []  # rows that were read, and their gradients
        self._begin()

    def __enter__(self) -> "RowAdam":
        self.embedding.sparse, weight = True, self.embedding.weight
        self.hooks = [
            self.embedding.register_forward_pre_hook(lambda _, ids: self.catch_up(*ids)),
            weight.register_post_accumulate_grad_hook(self._collect_part),
        ]
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.catch_up()
        finally:
            for hook in self.hooks:
                hook.remove()
            self.embedding.sparse = False
            self.zero_grad()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear all gradients."""
        super().zero_grad(set_to_none)
        self.parts.clear()

    def _collect_part(self, weight: Tensor) -> None:
        """Collect a part's sparse gradient: torch would copy all earlier rows to add it to them."""
        gradient = weight.grad.coalesce()  # type: ignore[union-attr]  # it is there
        self.parts.append((gradient.indices()[0], gradient.values()))
        weight.grad = None

    def gather(self) -> None:
        """Add up the embedding's gradients of all backward passes since the last step.

        Processes send each other only the rows that they read, and take the mean.
        """
        weight = self.embedding.weight

        def total(ids: Tensor, values: Tensor) -> Tensor:
            rows = torch.sparse_coo_tensor(ids[None], values, weight.shape, check_invariants=False)
            return rows.coalesce()

        weight.grad = total(*map(torch.cat, zip(*self.parts, strict=True)))
        if self.from_all:
            ids = self.from_all(weight.grad.indices()[0])
            values = torch.cat(self.from_all(weight.grad.values())) / len(ids)
            weight.grad = total(torch.cat(ids), values)
            self.catch_up(weight.grad.indices()[0])  # rows that only other processes have read
        self.parts.clear()

    def state_dict(self) -> dict:
        """Return Adam's state, and the moves that rows of the embedding have missed."""
        return {**super().state_dict(), "rows": (self.now, self.last, self.missed)}

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the state of any Adam with the same parameters."""
        super().load_state_dict(state_dict)
        self._begin()
        if "rows" in state_dict:
            self.now, self.last, self.missed = state_dict["rows"]

    def _begin(self) -> None:
        """Create the embedding's averages, unless they were loaded."""
        weight = self.embedding.weight
        if not self.state[weight]:
            self.state[weight] = {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }
        self._all_caught_up()

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # a closure would fill what is gathered
        """Update all parameters, but only those rows of the embedding that this minibatch read."""
        if self.parts:
            self.gather()
        weight, state = self.embedding.weight, self.state[self.embedding.weight]
        gathered: Any = weight.grad
        weight.grad = None
        super().step()
        rows, gradient = gathered.indices()[0], gathered.values()
        lr, (beta1, beta2), eps = (self.param_groups[0][key] for key in ("lr", "betas", "eps"))
        state["step"] += 1
        step = int(state["step"])
        rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
        m = state["exp_avg"][rows].lerp_(gradient, 1 - beta1)
        v = state["exp_avg_sq"][rows].lerp_(gradient.square(), 1 - beta2)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = m, v
        weight.index_add_(0, rows, m / (v.sqrt() / root + eps), alpha=-rate)
        self._note_step(rate, root)
        self.last[rows] = self.now

    def _all_caught_up(self) -> None:
        self.now, self.last = 0, torch.zeros(len(self.embedding.weight), dtype=torch.int64)
        self.missed = torch.zeros(2, 1, dtype=torch.float64)

    def _note_step(self, rate: float, root: float) -> None:
        """Add this step to the moves that rows have missed since the step that last updated them.

        Step k moves a row that was left at step s with averages m and v by
        -w m / (a sqrt(v) + eps), where w = rate_k beta1^(k-s) and a = beta2^((k-s)/2) / root_k.
        """
        beta1, beta2 = self.param_groups[0]["betas"]
        recent = self.missed[:, -_MEMORY:]
        gap = torch.arange(recent.shape[1], 0, -1, dtype=torch.float64)
        w, a = rate * beta1**gap, beta2 ** (gap / 2) / root
        recent += torch.stack([w / a, w / a**2])
        self.missed = nn.functional.pad(self.missed, (0, 1))
        self.now += 1

    @torch.no_grad()
    def catch_up(self, ids: Tensor | None = None) -> None:
        """Make the moves that the rows of these ids (None: all rows) have missed.

        a hardly changes while momentum lasts, so the sums of w / a and w / a^2 give the whole move,
        to the second order in eps / sqrt(v).
        """
        ids_or_all = torch.arange(len(self.last)) if ids is None else ids
        rows = ids_or_all[self.last[ids_or_all] < self.now].unique()
        weight, state = self.embedding.weight, self.state[self.embedding.weight]
        (beta1, beta2), eps = (self.param_groups[0][key] for key in ("betas", "eps"))
        for part in rows.split(4096) if len(rows) else ():  # torch 2.6 compiles no split of none
            m, v = state["exp_avg"][part], state["exp_avg_sq"][part]
            first, second = self.missed[:, self.last[part], None]
            move = m * first.float() / (v.sqrt() + (eps * second / first).float())
            weight.index_add_(0, part, move, alpha=-1)
            gap = (self.now - self.last[part])[:, None]
            state["exp_avg"][part], state["exp_avg_sq"][part] = m * beta1**gap, v * beta2**gap
            self.last[part] = self.now
        if ids is None:
            self._all_caught_up()


def catch_up_saved(weights: dict, state: dict, names: list[str]) -> None:
    """Make the moves that rows have missed, in saved weights and in the saved state of a `RowAdam`.

    Any other optimizer can then go on. `names` are the parameters' names, in order. The state of
    another Adam stays as it is.
    """
    if "rows" not in state:
        return
    name = "encoder.token_embedding.weight"
    number = names.index(name)
    embedding = nn.Embedding.from_pretrained(weights[name], freeze=False)  # in the same memory
    rows = RowAdam([embedding.weight], embedding, lr=0.0)
    group = {**state["param_groups"][0], "params": [0]}
    rows.load_state_dict({**state, "state": {0: state["state"][number]}, "param_groups": [group]})
    rows.catch_up()
    state["state"][number] = rows.state[embedding.weight]
