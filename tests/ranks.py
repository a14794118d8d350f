"""Several processes that train together, as torchrun starts them, but out of a warm one."""

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

import d2lnli as d2l
from faulty import PROCESSES

PORT_TAKEN = 75  # the exit status of who finds that another process was given the port


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def _join_in(
    number: int, world_size: int, port: int, out: Path, function: Callable, arguments: tuple
) -> None:
    torch.set_num_threads(1)
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    values = (number, number, world_size, world_size)
    os.environ.update({name: str(value) for name, value in zip(names, values, strict=True)})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test")
    try:
        with d2l.process_group() as ranks:
            result = function(*arguments)
            torch.save(result, out / f"{ranks.rank}.pt")
    except torch.distributed.DistNetworkError:
        sys.exit(PORT_TAKEN)
    except (ValueError, OSError, MemoryError) as error:
        (out / f"{number}.txt").write_text(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def started(
    world_size: int, out: Path, function: Callable, *arguments: object
) -> Iterator[list[BaseProcess]]:
    """Start so many ranks that call a function; what they return or raise is put in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    port = free_port()
    processes = [
        PROCESSES.Process(target=_join_in, args=(i, world_size, port, out, function, arguments))
        for i in range(world_size)
    ]
    for process in processes:
        process.start()
    try:
        yield processes
        for process in processes:
            process.join(timeout=60)
    finally:
        for process in processes:
            process.kill()


def together(world_size: int, out: Path, function: Callable, *arguments: object) -> list:
    """Return what each rank's call returns, in order of rank."""
    for _ in range(3):
        with started(world_size, out, function, *arguments) as processes:
            pass
        if processes[0].exitcode != PORT_TAKEN:
            break
    said = [path.read_text() for path in sorted(out.glob("*.txt"))]
    assert not said, said
    return [torch.load(out / f"{i}.pt", weights_only=False) for i in range(world_size)]
