"""Who trains together: this worker's place among all, and the device that it computes on.

Plain `python` is a world of one. `torchrun` and Ray Train tell each worker its place in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`mesh` None: nobody else."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    mesh: DeviceMesh | None = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come here."""
        if self.mesh is not None:
            dist.barrier()

    def total(self, value: float) -> float:
        """The sum over all workers."""
        if self.mesh is None:
            return value
        held = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(held)
        return float(held)

    def gathered(self, said: str) -> list[str]:
        """What each worker says, at every worker."""
        if self.mesh is None:
            return [said]
        own = torch.frombuffer(bytearray(said.encode()), dtype=torch.uint8).to(self.device)
        lengths = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(own)], device=self.device))
        room = [own.new_zeros(int(max(lengths))) for _ in lengths]
        dist.all_gather(room, torch.cat([own, own.new_zeros(len(room[0]) - len(own))]))
        return [one[: int(length)].cpu().numpy().tobytes().decode() for one, length in zip(room, lengths, strict=True)]

    @torch.no_grad()
    def average(self, weights: Iterable[Tensor]) -> None:
        """Gradients of weights that every worker holds whole: all of them in one message."""
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if self.mesh is None or not gradients:
            return
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(joined)
        parts = torch.split(joined / self.size, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def divided(self, rows: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
        """`work` done on all rows, by each worker on a share; all of it at every worker. Rows do not depend on one another."""
        if self.mesh is None:
            return work(rows)
        each = -(-len(rows) // self.size)
        padded = torch.cat([rows, rows.new_zeros(each * self.size - len(rows), *rows.shape[1:])])
        mine = work(padded[self.rank * each :][:each]).contiguous()
        gathered = mine.new_empty(each * self.size, *mine.shape[1:])
        dist.all_gather_single(gathered, mine)
        return gathered[: len(rows)]


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """The world that the environment tells of; left at the end, unless Ray Train has joined it already and leaves it itself."""
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local) if has_gpu else torch.device("cpu")
    if has_gpu:
        torch.cuda.set_device(device)
    if size == 1:
        yield World(device=device)
        return
    is_ours = not dist.is_initialized()
    if is_ours:
        dist.init_process_group("nccl" if has_gpu else "gloo")
    try:
        mesh = init_device_mesh(device.type, (size,))
        yield World(rank=dist.get_rank(), size=size, device=device, mesh=mesh)
    finally:
        if is_ours:
            dist.destroy_process_group()


def whole(tensor: Tensor) -> Tensor:
    """A shard with all of its others; what is no shard as it is. All workers must ask together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
