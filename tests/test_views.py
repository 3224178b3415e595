import pytest
import torch
from torch import nn

from relatum.taps import Tap, Tapped
from relatum.types import Fault
from relatum.views import View

TOKENS = torch.arange(2 * 7 * 3).view(2, 7, 3).float()
"""A class token and six patches, of two rows."""


def test_tokens_are_laid_out_as_they_lie_in_the_image() -> None:
    maps = View("map", prefix=1, grid=(2, 3))(TOKENS)
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(maps[:, :, row, column], TOKENS[:, 1 + 3 * row + column])


class Seen(nn.Module):
    """A view as a part of a network that is written into a file."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return View("map", prefix=1, grid=(2, 3))(tokens)


def test_any_number_of_images_is_traced() -> None:
    """An exported vision transformer is not for the number of images that it was traced with."""
    free = {"tokens": {0: torch.export.Dim("batch", min=1)}}
    traced = torch.export.export(Seen(), (TOKENS,), dynamic_shapes=free).module()
    assert traced(torch.cat([TOKENS, TOKENS, TOKENS])).shape == (6, 3, 2, 3)


def test_the_other_views() -> None:
    torch.testing.assert_close(View("tokens", prefix=1)(TOKENS), TOKENS[:, 1:])
    torch.testing.assert_close(View("class token", prefix=1)(TOKENS), TOKENS[:, 0])
    torch.testing.assert_close(View("mean token", prefix=1)(TOKENS), TOKENS[:, 1:].mean(1))
    last = torch.rand(2, 4, 5, 3)
    torch.testing.assert_close(View("map of channels last")(last)[:, 1], last[..., 1])
    torch.testing.assert_close(View("mean of map")(last), last.flatten(2).mean(2))
    assert View()(TOKENS) is TOKENS


@pytest.mark.parametrize(
    ("view", "value", "message"),
    [
        (View("map", prefix=1), TOKENS, "6 tokens behind a prefix of 1 make no grid of 2 by 2"),
        (View("map"), torch.rand(2, 3), r"wants tokens .* got a tensor of \(2, 3\)"),
        (View("map of channels last"), TOKENS, "wants a map"),
        (View("mean of map"), TOKENS, "wants a map"),
    ],
)
def test_what_cannot_be_laid_out(view: View, value: torch.Tensor, message: str) -> None:
    with pytest.raises(Fault, match=message):
        view(value)


class Tuple(nn.Module):
    """As some of transformers' layers: what it computes, and something beside it."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, int]:
        return images.flatten(2).transpose(1, 2), 1


class Holds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = Tuple()
        self.fc = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens, _ = self.layer(images)
        logits: torch.Tensor = self.fc(tokens.mean(1))
        return logits


def test_an_entry_of_a_tuple_is_read_and_laid_out() -> None:
    images = torch.rand(2, 3, 4, 4)
    tapped = Tapped(
        Holds(),
        {"maps": Tap("layer", view=View("map", item=0)), "mean": Tap("fc", "input")},
    )
    said = tapped(images)
    torch.testing.assert_close(said.taps["maps"], images)
    torch.testing.assert_close(said.taps["mean"], images.mean((2, 3)))
    torch.testing.assert_close(torch.compile(tapped, backend="eager")(images).taps, said.taps)
