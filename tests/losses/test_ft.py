import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.losses import FT, Paraphraser
from relatum.types import Fault
from tests.losses.numbers import randn, wave
from tests.toys import state


def naive(student: Tensor, teacher: Tensor, power: float) -> float:
    def attention(maps: Tensor) -> list[float]:
        found: list[float] = []
        for sample in maps.flatten(2):
            pixels = [sum(abs(float(c)) ** power for c in pixel) / len(pixel) for pixel in sample.T]
            length = sum(each**2 for each in pixels) ** 0.5
            found += [each / length for each in pixels]
        return found

    pairs = list(zip(attention(student), attention(teacher), strict=True))
    return sum(abs(s - t) for s, t in pairs) / len(pairs)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_equals_a_naive_loop(power: float) -> None:
    student, teacher = randn(3, 2, 2, 3), randn(3, 5, 2, 3, seed=1)
    wanted = naive(student, teacher, power)
    assert float(FT(p=power)(student, teacher)) == pytest.approx(wanted, rel=1e-12)


def test_recorded_maps() -> None:
    value = float(FT()(wave((2, 3, 4, 4), 0), wave((2, 5, 2, 2), 0.5)))
    assert value == pytest.approx(0.19377256, abs=6e-9)


def test_a_translation_is_compared_with_the_factor() -> None:
    paraphraser = Paraphraser(6).double()
    loss = FT(paraphraser, student_channels=4).double()
    student, teacher = randn(4, 4, 4, 4), randn(4, 6, 8, 8, seed=1)
    translated, factor = loss.translator(student), paraphraser.factor(teacher)
    assert translated.shape == (4, 3, 4, 4)
    assert factor.shape == (4, 3, 8, 8)
    torch.testing.assert_close(loss(student, teacher), FT()(translated, factor))
    torch.testing.assert_close(FT()(translated, factor), FT()(translated, F.avg_pool2d(factor, 2)))


def test_the_translator_is_three_convolutions() -> None:
    loss = FT(Paraphraser(6), student_channels=4)
    block = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert [type(each) for each in loss.translator.children()] == 3 * block
    widths = [
        (each.in_channels, each.out_channels, each.kernel_size)
        for each in loss.translator.children()
        if isinstance(each, nn.Conv2d)
    ]
    assert widths == [(4, 4, (3, 3)), (4, 3, (3, 3)), (3, 3, (3, 3))]


def test_the_paraphraser_is_an_auto_encoder_without_batch_norm() -> None:
    paraphraser = Paraphraser(6).double()
    for part, kind in ((paraphraser.encoder, nn.Conv2d), (paraphraser.decoder, nn.ConvTranspose2d)):
        assert [type(each) for each in part] == 3 * [kind, nn.LeakyReLU]
        assert {each.negative_slope for each in part if isinstance(each, nn.LeakyReLU)} == {0.1}
    maps = randn(4, 6, 5, 5)
    again = paraphraser.decoder(paraphraser.encoder(maps))
    assert again.shape == maps.shape
    torch.testing.assert_close(paraphraser(maps), (again - maps).square().mean())


@pytest.mark.parametrize(("channels", "share", "mid"), [(6, 0.5, 3), (7, 0.5, 3), (4, 1.0, 4)])
def test_the_factor_has_a_share_of_the_channels(channels: int, share: float, mid: int) -> None:
    paraphraser = Paraphraser(channels, share)
    assert paraphraser.factor_channels == mid
    assert paraphraser.factor(torch.randn(2, channels, 4, 4)).shape == (2, mid, 4, 4)


def test_first_the_paraphraser_learns_then_it_rests() -> None:
    torch.manual_seed(0)
    paraphraser = Paraphraser(6)
    teacher = torch.randn(32, 3, 4, 4).repeat(1, 2, 1, 1).relu()
    optimizer = torch.optim.SGD(paraphraser.parameters(), lr=0.1, momentum=0.9)
    first = paraphraser(teacher).item()
    for _ in range(100):
        optimizer.zero_grad()
        paraphraser(teacher).backward()
        optimizer.step()
    assert paraphraser(teacher).item() < 0.8 * first

    loss = FT(paraphraser, student_channels=4)
    assert not any(parameter.requires_grad for parameter in paraphraser.parameters())
    assert all(parameter.requires_grad for parameter in loss.translator.parameters())
    before = state(paraphraser)
    loss(torch.randn(32, 4, 4, 4), teacher).backward()
    assert all(parameter.grad is not None for parameter in loss.translator.parameters())
    after = state(paraphraser)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {f"paraphraser.{name}" for name in before} <= set(loss.state_dict())


def test_no_gradient_reaches_a_paraphraser_that_still_could_learn() -> None:
    """As the method has it, which builds both stages before it trains the first."""
    loss = FT(Paraphraser(6), student_channels=4).requires_grad_()
    loss(torch.randn(4, 4, 4, 4), torch.randn(4, 6, 4, 4)).backward()
    assert loss.paraphraser is not None
    assert all(parameter.grad is None for parameter in loss.paraphraser.parameters())


def test_faults_name_what_is_wrong() -> None:
    with pytest.raises(Fault, match="give a paraphraser and student_channels, or none"):
        FT(Paraphraser(6))
    with pytest.raises(Fault, match="give a paraphraser and student_channels, or none"):
        FT(student_channels=4)
    with pytest.raises(Fault, match="p is at least one, got 0"):
        FT(p=0)
    with pytest.raises(Fault, match=r"no channels are left of 1 at a share of 0\.5"):
        Paraphraser(1)
    with pytest.raises(Fault, match=r"share is above 0 and at most 1, got 1\.5"):
        Paraphraser(4, share=1.5)
