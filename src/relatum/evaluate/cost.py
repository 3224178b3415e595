"""What a network costs: its size and its work, and how much smaller a student is."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from relatum.taps import Tapped, at_rest
from relatum.types import Captured, Fault


def parameters(network: nn.Module) -> int:
    """How many numbers a network learns, shared ones counted once; buffers do not count.

    Example:
        >>> parameters(nn.Linear(3, 2))
        8
    """
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """How many multiply-accumulates one image costs, at rest.

    Those of matrix products, convolutions and attention; sums, activations, normalisation and
    pooling are not counted, as usual (so torchvision gives 1.814·10⁹ for ResNet-18). Half of
    what PyTorch's counter calls floating-point operations. The network runs once, on zeros.

    Args:
        network: any network, on any device; its modes are as before when this returns. One that is
            tapped is looked at at its own size, where it has one.
        image_shape: channels, height and width.

    Example:
        >>> macs(nn.Conv2d(3, 8, kernel_size=3, padding=1), (3, 32, 32)) == 32 * 32 * 8 * 3 * 9
        True
    """
    if isinstance(network, Tapped):
        image_shape = (image_shape[0], *(network.input.size or image_shape[1:]))
        network = network.network
    counter = FlopCounterMode(display=False)
    with at_rest(network), _plain_attention(), counter:
        network(_blank(network, image_shape))
    return int(counter.get_total_flops()) // 2


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention by products that the counter sees.

    Its fused forms are opaque to it: a TransformerEncoder at rest would cost 0.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def encoder_parameters(
    tapped: Tapped, image_shape: tuple[int, int, int], on: str = "embedding"
) -> int:
    """How many of a network's parameters the value of one tap depends on.

    What one deploys when only the embedding is wanted: without the decoder, without the head.
    A parameter counts when a gradient of the tap's sum reaches it (also through a closed ReLU),
    in a dry run at rest on one image of zeros; frozen parameters count too. The network is not
    changed.

    Args:
        tapped: the network with its taps.
        image_shape: channels, height and width, before the network's own resizing.
        on: the tap's name; ``"output"`` for the whole network as it is called.

    Raises:
        Fault: the network has no such tap.

    Example:
        >>> from relatum.taps import Tap
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 10))
        >>> tapped = Tapped(network, {"embedding": Tap("2", "input")})
        >>> encoder_parameters(tapped, (1, 2, 2)), parameters(network)
        (15, 55)
    """
    gradients = _gradients(tapped, image_shape, on).values()
    return sum(gradient.numel() for gradient in gradients if gradient is not None)


def reached(
    tapped: Tapped, image_shape: tuple[int, int, int], on: str = "embedding"
) -> frozenset[str]:
    """Which of a network's parameters the value of one tap depends on, by the network's own names.

    Those that ``encoder_parameters`` counts, asked for in the same way.

    Raises:
        Fault: the network has no such tap.
    """
    gradients = _gradients(tapped, image_shape, on)
    return frozenset(
        name.removeprefix("network.") for name, each in gradients.items() if each is not None
    )


def _gradients(
    tapped: Tapped, image_shape: tuple[int, int, int], on: str
) -> dict[str, Tensor | None]:
    """Of the sum of a tap's value, with respect to every parameter, where one reaches it."""
    if on != "output" and on not in tapped.taps:
        raise Fault(f"the network has no tap {on!r}; it has {', '.join(['output', *tapped.taps])}")
    # Copies that share their memory: so frozen parameters count, and stay frozen.
    copies = {
        name: parameter.detach().requires_grad_()
        for name, parameter in tapped.named_parameters()
        if parameter.is_floating_point()
    }
    with at_rest(tapped), torch.enable_grad():
        captured: Captured = torch.func.functional_call(
            tapped, copies, (_blank(tapped, image_shape),)
        )
        value = captured.read(on)
        parts = value if isinstance(value, tuple) else (value,)
        total = torch.stack([part.sum() for part in parts]).sum()
        if not copies or not total.requires_grad:
            return {}
        found = torch.autograd.grad(total, list(copies.values()), allow_unused=True)
    return dict(zip(copies, found, strict=True))


def compression(student: int, teacher: int) -> dict[str, float]:
    """How much smaller the student is, from two counts of parameters.

    Both of the same kind: ``parameters`` of whole networks, or ``encoder_parameters`` where
    heads and decoders are thrown away. (RRKD's abstract gives 47.71 % for its auto-encoders,
    from counts rounded to thousands; the exact ratio is below.)

    Returns:
        ``parameters_student`` and ``parameters_teacher``, as given; ``ratio_percent``, the
        student's as a percentage of the teacher's; ``times_smaller``, the teacher's over the
        student's.

    Raises:
        Fault: a count is not above zero.

    Example:
        >>> round(compression(52_320, 108_736)["ratio_percent"], 2)
        48.12
    """
    if student < 1 or teacher < 1:
        raise Fault(f"wanted counts of parameters above zero, came {student} and {teacher}")
    return {
        "parameters_student": student,
        "parameters_teacher": teacher,
        "ratio_percent": 100 * student / teacher,
        "times_smaller": teacher / student,
    }


def _blank(network: nn.Module, image_shape: tuple[int, int, int]) -> Tensor:
    """One image of zeros, of the kind and on the device of the network's own numbers."""
    own = [*network.parameters(), *network.buffers()]
    like = next((tensor for tensor in own if tensor.is_floating_point()), torch.empty(0))
    return torch.zeros(1, *image_shape, dtype=like.dtype, device=like.device)
