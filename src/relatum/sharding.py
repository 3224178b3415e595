"""Networks too large for one device: every process holds a part of them (PyTorch's FSDP2).

A process holds 1/W of each parameter. Shortly before a block of layers runs, its parameters are
gathered from all W processes, and let go again behind it. So all processes run a sharded network
equally often, in the same order: one that evaluates alone waits for the others for ever.

Alone, a process holds all: every function then does what it does for a network that is whole.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relatum import world
from relatum.taps import Tapped
from relatum.types import Fault

LARGEST = 1 / 8
"""Of a network's parameters: a larger block is cut into blocks within it, if it is made of such."""
SMALLEST = 1 / 256
"""Of a network's parameters: a smaller block is not worth a collective operation of its own."""
MADE_OF = 3 / 4
"""Of a block's parameters: blocks that hold less of it are not what it is made of."""


def blocks(network: nn.Module, taps: Sequence[str] = ()) -> tuple[str, ...]:
    """The paths of the parts that are gathered one at a time.

    They are elements of ``nn.Sequential``, ``nn.ModuleList`` or ``nn.ModuleDict``: the blocks of a
    transformer, of a residual network's stage. None shares a parameter with what is outside it.

    Args:
        network: any.
        taps: paths of submodules that must not lie within a block.
    """
    total = _count(network)
    uses = _uses(network)

    def within(module: nn.Module, path: str) -> Iterator[str]:
        for name, child in module.named_children():
            yield from found(child, f"{path}{name}", isinstance(module, _ROWS))

    def found(module: nn.Module, path: str, in_row: bool) -> Iterator[str]:
        inner = list(within(module, f"{path}."))
        tapped = any(tap.startswith(f"{path}.") for tap in taps)
        runs = type(module).forward is not nn.Module.forward
        if not (in_row and runs and _by_itself(module, uses)) or tapped:
            yield from inner
            return
        size = _count(module)
        covered = sum(_count(network.get_submodule(each)) for each in inner)
        if size > LARGEST * total and covered >= MADE_OF * size:
            yield from inner
        elif size >= SMALLEST * total:
            yield path

    return tuple(within(network, ""))


_ROWS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def _count(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def _uses(module: nn.Module) -> Counter[nn.Parameter]:
    """How often every parameter is held, a module that is there twice counted twice."""
    every = module.named_modules(remove_duplicate=False)
    return Counter(
        each for _, part in every for each in part._parameters.values() if each is not None
    )


def _by_itself(module: nn.Module, uses: Counter[nn.Parameter]) -> bool:
    own = _uses(module)
    return bool(own) and all(uses[each] == count for each, count in own.items())


def shard(tapped: Tapped, device: torch.device | str, paths: Sequence[str] | None = None) -> None:
    """Hold a network that does not learn in parts, and bring each part to a device.

    Nothing more than a part and one block is ever on the device, so it may be larger than that;
    each process must have had room for the whole of it in its own memory, where it was loaded.
    What the network says has the same bits as before. It always runs to its end, whatever
    ``Tapped.until`` says, and the same network must be there on all processes.

    Args:
        tapped: the network, and what is read of it.
        device: where this process computes; for a GPU the processes have met over NCCL.
        paths: of the blocks, each of which is called as a module; ``blocks`` finds them.

    Raises:
        Fault: a path is none of the network's.
    """
    network = tapped.network
    if world.size() > 1:
        mesh = _mesh(device)
        found = blocks(network) if paths is None else paths
        for module in (*_at(network, found), network):
            _split(module, mesh, keep=False)
        tapped.whole = True
    tapped.to(device)


def shard_learner(
    learner: nn.Module,
    student: Tapped,
    device: torch.device | str,
    paths: Sequence[str] | None = None,
) -> None:
    """Hold what learns in parts: its parameters, their gradients, and what an optimiser adds.

    Gradients are the mean over processes, as DDP's. The losses' own parameters are sharded too;
    a parameter that is a single number stays whole, and its gradient is averaged. All begin
    with what the first process holds.

    The optimiser is made afterwards, and ``Distiller.rest`` called before: parameters are other
    objects from here on. It is not fused: PyTorch has no fused SGD for parameters in parts.

    Args:
        learner: called with the batch, returns its losses, which have a ``total``, and what the
            student said.
        student: a part of it; its network may be called by itself, too, as in evaluation.
        device: where this process computes.
        paths: of the student's blocks; ``blocks`` finds them. A block with a tap inside is none,
            for its gradient would pass by the place where its parameters are gathered.

    Raises:
        Fault: a path is none of the network's, or there is a tap inside that block.
    """
    if world.size() > 1:
        network, mesh = student.network, _mesh(device)
        taps = [tap.path for each in student.taps.values() for tap in _each(each)]
        found = blocks(network, taps) if paths is None else paths
        for path in found:
            if inside := [tap for tap in taps if tap.startswith(f"{path}.")]:
                raise Fault(f"block {path!r} cannot be sharded: tap {inside[0]!r} lies within it")
        modules = _at(network, found)
        world.alike((*learner.parameters(), *learner.buffers()))
        for module in modules:
            _split(module, mesh, keep=False)
        for module in (network, learner):  # a tap may be all that is read: no hook then gathers
            _split(module, mesh, keep=True)
        _begin(learner)
        for parameter in (each for each in _single(learner) if each.requires_grad):
            parameter.register_post_accumulate_grad_hook(_averaged)  # type: ignore[no-untyped-call]
        student.whole = True
    learner.to(device)


def sharded(module: nn.Module) -> bool:
    """Whether some of its parameters are held in parts."""
    return any(hasattr(each, "full_tensor") for each in module.parameters())


def _mesh(device: torch.device | str) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(torch.device(device).type, (world.size(),))


def _split(module: nn.Module, mesh: Any, *, keep: bool) -> None:
    """Hold a module's parameters in parts; ``keep`` them gathered between forward and backward."""
    from torch.distributed.fsdp import fully_shard  # seconds, for those alone who shard

    fully_shard(
        module, mesh=mesh, reshard_after_forward=not keep, ignored_params=set(_single(module))
    )


def _single(module: nn.Module) -> list[nn.Parameter]:
    return [each for each in module.parameters() if each.ndim == 0]


def _averaged(parameter: Tensor) -> None:
    if parameter.grad is not None:
        world.average([parameter.grad])


def _each(taps: Any) -> tuple[Any, ...]:
    return (taps,) if hasattr(taps, "path") else taps


def _at(network: nn.Module, paths: Sequence[str]) -> list[nn.Module]:
    modules = dict(network.named_modules())
    for path in paths:
        if path not in modules:
            near = ", ".join(blocks(network)[:3]) or "none"
            raise Fault(f"the network has no block {path!r}; those found by itself: {near}")
    return [modules[path] for path in paths]


def _begin(learner: nn.Module) -> None:
    """Make it the root of what is sharded, and show it where its gradient enters.

    The first module that runs becomes the root: the student, if it were evaluated before it is
    trained, and the learner could then not be one. So the learner runs first, with nothing to do.
    And of what a module returns, PyTorch 2.11 looks into tuples and not into dataclasses, and 2.15
    looks at everything: the one tensor that matters is the total, so that is all it sees.
    """
    learner.forward = lambda: None
    learner()
    del learner.forward
    learner.register_forward_hook(lambda _, __, left: (left[0].total, lambda: left), prepend=True)
    learner.register_forward_hook(lambda _, __, shown: shown[1]())


def full_state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of its whole parameters and buffers on the CPU, by name, on every process."""
    return {name: _whole(value) for name, value in module.state_dict().items()}


def load_full_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what ``full_state`` or the ``state_dict`` of a whole module gave.

    Args:
        module: whole or sharded.
        state: the same on every process, of which each takes its part.
    """
    own = module.state_dict()
    parts = {name: _part(value, own[name]) for name, value in state.items() if name in own}
    module.load_state_dict({**state, **parts})


def full_optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What ``optimizer.state_dict()`` would be if its parameters were whole, on the CPU."""
    state = optimizer.state_dict()
    slots = {
        place: {name: _whole(value) for name, value in slot.items()}
        for place, slot in state["state"].items()
    }
    return {**state, "state": slots}


def load_full_optimizer_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load what ``full_optimizer_state``, or an optimiser over whole parameters, gave.

    Raises:
        Fault: it keeps something for a parameter that is neither one number nor of its shape.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    slots = {
        place: {name: _slot(name, value, parameters[place]) for name, value in slot.items()}
        for place, slot in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": slots})


def _slot(name: str, value: Any, parameter: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.shape not in (parameter.shape, torch.Size()):
        raise Fault(
            f"the optimiser keeps {name!r} of shape {tuple(value.shape)} for a parameter of shape"
            f" {tuple(parameter.shape)}, which cannot be held in parts; take SGD or Adam"
        )
    return _part(value, parameter).clone()  # a part of the whole would keep all of it in memory


def _whole(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    full: Any = value.detach()
    if hasattr(full, "full_tensor"):
        full = full.full_tensor()
    return full.cpu().clone() if full.device.type == "cpu" else full.cpu()


def _part(value: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, held as another is."""
    if not hasattr(like, "full_tensor") or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    own: Any = like
    # no source: all have the same, and nothing needs to travel
    return distribute_tensor(
        value.to(like.device, like.dtype), own.device_mesh, own.placements, src_data_rank=None
    )
