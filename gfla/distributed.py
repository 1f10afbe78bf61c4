"""Several processes train one run: who is who, and how they agree.

`torchrun` starts the processes and tells them about each other; this room reads that, opens torch's
process group and wraps what is trained. A process that nobody has given company is rank 0 of 1, and
nothing here changes anything for it.

A step's batch is one batch however many processes there are: every process takes its own rows of
it, each loss is a mean over rows, and the mean of the gradients is the gradient of the whole. So
the number of processes may change at any checkpoint, and the training stays the same up to
rounding.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def start(device: torch.device) -> torch.device:
    """Join the processes that `torchrun` has started; without it, do nothing.

    Args:
        device: the kind of device that is wanted, "cpu" or "cuda".

    Returns:
        the device of this process: of several GPUs in a machine, one each.

    Raises:
        ValueError: several processes on another kind of device, more of them on this machine than
            it has GPUs, or several machines whose torchrun could not restart them.
    """
    if not dist.is_torchelastic_launched():
        return device
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device}: several processes train on cpu or cuda only")
    if device.type == "cuda":
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise ValueError(
                f"process {local} of this machine has no GPU of its own, there are {there}: "
                f"start torchrun with --nproc-per-node={there}, or choose --device cpu"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        store, number, count = next(dist.rendezvous("env://"))
        # gloo also beside nccl: what the processes agree on need not wait for the GPU
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=_fresh(store),
            rank=number,
            world_size=count,
        )
    return device


def _fresh(store: dist.Store) -> dist.Store:
    """The place where processes leave their addresses, without those of processes that died.

    Unless it is told otherwise, torchrun keeps one store over all restarts, and who looks there
    finds addresses that are no more (pytorch/pytorch issue 135712). On one machine the number of
    restarts tells them apart; several machines do not count alike.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return store
    if os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:
        return dist.PrefixStore(f"attempt-{restarts()}", store)
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0:
        raise ValueError(
            "torchrun --max-restarts on several machines: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 "
            "in the environment of each torchrun and choose --rdzv-backend=c10d, else processes "
            "that are started again do not find each other"
        )
    return store


def stop() -> None:
    """Leave the process group; the end of a program that `start` began."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, 0 for the one that writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together, over all machines."""
    return dist.get_world_size() if dist.is_initialized() else 1


def restarts() -> int:
    """How often `torchrun` has started these processes again after one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def launch() -> str | None:
    """What tells one call of `torchrun` from another, the same however often it starts processes.

    Returns:
        its --rdzv-id; --standalone makes one up. None where nobody gave any: for a process alone,
        and for "none", torchrun's own word for that.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    return None if name == "none" else name


def require_launch() -> None:
    """Refuse to begin anew where a second start could not be told from the first.

    The number of restarts does not tell: torchrun counts no restart when a machine joins or leaves,
    and counts one when a process dies before anything began.

    Raises:
        ValueError: `torchrun` may start these processes again, and has no id.
    """
    if not dist.is_torchelastic_launched() or launch() is not None:
        return
    several = os.environ["LOCAL_WORLD_SIZE"] != os.environ["WORLD_SIZE"]
    if several or int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0:
        raise ValueError(
            "--fresh (resume=False) under a torchrun without an id: started again, it would begin "
            "anew again; give torchrun --standalone, or an --rdzv-id=... that no earlier call had"
        )


class ElsewhereError(RuntimeError):
    """Another process met the mistake, and says which."""


@contextmanager
def first() -> Iterator[None]:
    """What one process does while the others wait; a mistake of its own ends them all.

    Raises:
        ElsewhereError: in the others. The process that met the mistake raises that itself.
    """
    mistake = None
    try:
        yield
    except Exception as error:  # whatever it is, nobody must be left waiting
        mistake = error
    if anyone(mistake is not None):
        raise mistake or ElsewhereError("another process could not begin: see its message")


def wait() -> None:
    """Go on when every process has come here."""
    if world() > 1:
        dist.barrier()


def mean(values: Tensor) -> Tensor:
    """The mean over the processes, the same numbers in each of them.

    Args:
        values: of one shape in every process; left as they are.

    >>> mean(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    if world() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / world()


def anyone(flag: bool) -> bool:
    """Whether `flag` is true in any of the processes.

    >>> anyone(False), anyone(True)
    (False, True)
    """
    if world() == 1:
        return flag
    raised = torch.tensor(int(flag))
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return bool(raised)


def shared(data: bytes) -> bytes:
    """The bytes that rank 0 has; what the others hand in is not looked at.

    >>> shared(b"state")
    b'state'
    """
    if world() == 1:
        return data
    length = torch.tensor(len(data))
    dist.broadcast(length, 0)
    mine = bytearray(data) if rank() == 0 else bytearray(int(length))
    held = torch.frombuffer(mine, dtype=torch.uint8)
    dist.broadcast(held, 0)
    return bytes(mine)


def wrapped(network: nn.Module, trained: Iterable[nn.Parameter] | None = None) -> nn.Module:
    """A network whose backward pass averages the gradients over the processes.

    The parameters, and their names in a state_dict, stay those of `network`: only calls go through
    what is returned.

    Args:
        network: called with the rows of this process.
        trained: those of its parameters that every backward pass reaches, if not all.

    Returns:
        a `DistributedDataParallel`, or `network` itself for a single process.
    """
    if world() == 1:
        return network
    wanted = {id(one) for one in (network.parameters() if trained is None else trained)}
    others = [one for one in network.parameters() if one.requires_grad and id(one) not in wanted]
    for parameter in others:  # what asks for no gradient now is not waited for later
        parameter.requires_grad_(False)
    # Buffers are spectral norms, which every process computes from the same weights alike.
    known = inspect.signature(DistributedDataParallel).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    found = DistributedDataParallel(network, gradient_as_bucket_view=True, **{buffers: False})
    for parameter in others:
        parameter.requires_grad_(True)
    return found


def apart(network: nn.Module, more: bool = True) -> AbstractContextManager:
    """Within it, backward passes through a `wrapped` network only add up in this process.

    Args:
        network: wrapped or not.
        more: False gives a context in which they are averaged, as outside of it.
    """
    alone = isinstance(network, DistributedDataParallel) and more
    return network.no_sync() if alone else nullcontext()
