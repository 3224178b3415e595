"""Networks of Hugging Face's transformers, which is imported only when one is asked for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from relatum.models.hub import told_once
from relatum.models.kinds import NEEDS, is_kind, kinds, sees_images
from relatum.models.processor import preparation, size_of
from relatum.types import Fault, Images, Input, first_line

CLASSIFIES = "ForImageClassification"
MASKED = "vit_mae"
"""A kind that hides patches also at rest; here it sees them all."""
_POOLER = "pooler."


class HuggingFace(nn.Module):
    """One of transformers' vision models, from images to one tensor.

    Its parameters, buffers and submodules are the model's own and bear the model's own names, so
    weights go to and fro between this and transformers as they are.

    Args:
        model: takes ``pixel_values`` and gives ``logits``, or else a ``pooler_output`` or a
            ``last_hidden_state``: pooled by the class token, where there is a position that no
            patch has, or by the mean.
        pooled: whether ``pooler_output`` is to be read; no, where its layer was never trained.
        flipped: whether it was trained on blue, green, red; it is given red, green, blue.

    Attributes:
        num_classes: how many logits there are; 0 for a model that gives an embedding.
    """

    def __init__(self, model: Any, pooled: bool = True, flipped: bool = False) -> None:
        super().__init__()
        # The same dictionaries: what is moved, replaced or sharded here is so in the model. The
        # model is hidden in a tuple, or its parameters would be there twice.
        self._modules, self._parameters = model._modules, model._parameters
        self._buffers = model._buffers
        self._non_persistent_buffers_set = model._non_persistent_buffers_set
        self._hidden = (model.eval(),)  # its own flag stays so; layers have theirs
        for module in self.children():
            module.train()
        self.pooled, self.flipped = pooled, flipped
        self.num_classes = int(model.config.num_labels) if _classifies(model) else 0
        self._shuffles = model.config.model_type == MASKED
        self._patch = int(model.config.patch_size) if self._shuffles else 1

    def forward(self, images: Images) -> Tensor:
        """Images, normalised, to logits or to an embedding."""
        images = images.flip(1) if self.flipped else images
        said = self._hidden[0](pixel_values=images, return_dict=True, **self._order(images))
        if self.num_classes:  # PP-LCNet calls them its last state
            logits: Tensor | None = getattr(said, "logits", None)
            return said.last_hidden_state if logits is None else logits
        pooled: Tensor | None = getattr(said, "pooler_output", None) if self.pooled else None
        if pooled is None:
            return self._pool(getattr(said, "image_embeds", None), said)
        return pooled.flatten(1)

    def _order(self, images: Images) -> dict[str, Tensor]:
        """A masked auto-encoder shuffles its patches, if it is not told in which order."""
        if not self._shuffles:  # what is hidden may be wrapped, as by DDP, and know no config
            return {}
        patches = (images.shape[2] // self._patch) * (images.shape[3] // self._patch)
        return {"noise": torch.arange(patches, device=images.device).expand(images.shape[0], -1)}

    def _pool(self, embeds: Tensor | None, said: Any) -> Tensor:
        if embeds is not None:
            return embeds
        last: Tensor = said.last_hidden_state
        if last.ndim == 4:
            return last.mean((2, 3))
        whole = int(last.shape[1] ** 0.5) ** 2 == last.shape[1]
        return last.mean(1) if whole else last[:, 0]


def from_huggingface(
    name: str, *, channels: int, size: int, classes: int, pretrained: bool = False
) -> nn.Module:
    """A vision model of transformers, for this many channels and classes.

    Without ``pretrained`` its weights are random, and a classifier is put on it where its kind
    has one. With it, published weights are loaded (safetensors where there are any, never
    code): a classifier for other than their number of classes starts anew, and a model that was
    published without one gives its pooled embedding, unless there are classes to tell apart.

    Args:
        name: of a kind (``vit``, ``resnet``, ``dinov2`` …, as transformers has it configured by
            default), of a folder that holds a ``config.json``, or on the hub (``owner/model``).
        channels: of the images.
        size: their height and width, for kinds that are built for one size.
        classes: how many to tell apart; 0 for an embedding.
        pretrained: load its weights.

    Raises:
        Fault: transformers is not installed, knows no such model, or cannot build it so.
    """
    config = _config(name, pretrained)
    changes = {"num_channels": channels, "image_size": size}
    config = _changed(config, changes, name, pretrained)
    if config.model_type == MASKED:
        config.mask_ratio = 0.0
    kind = _kind(config, classes, pretrained)
    flipped = channels == 3 and not is_kind(name) and preparation(name, config).flipped
    try:
        if not pretrained:
            if classes:
                config.num_labels = classes
            return HuggingFace(kind.from_config(config), flipped=flipped)
        return _loaded(name, kind, config, classes, flipped)
    except Fault:
        raise
    except Exception as error:  # what is in its files can break anything, in any way
        if _was_pickled(error):
            raise Fault(
                f"hf/{name}: its weights are a pickle of more than tensors, so they were not"
                " loaded: such a file can run code; save them by save_pretrained, as safetensors"
            ) from error
        if "Unrecognized configuration class" in str(error):
            raise Fault(
                f"hf/{name}: transformers builds {config.model_type} as a part of other models"
                " alone; relatum list models hf/ lists those of their own"
            ) from error
        raise Fault(f"hf/{name} cannot be built: {first_line(error)}") from error


def _was_pickled(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, is the refusal of a pickle."""
    while error is not None and not isinstance(error, UnpicklingError):
        error = error.__cause__ or error.__context__
    return error is not None


def published_huggingface(name: str) -> tuple[int, Input]:
    """How many classes a model's weights tell apart (0: an embedding), and how they want images.

    Raises:
        Fault: there is no such model, or no weights of it.
    """
    config = _config(name, True)
    classes = int(config.num_labels) if _has_classifier(config) else 0
    return classes, preparation(name, config).input


def size_of_huggingface(name: str) -> int | None:
    """For what size a model is built, where it is for one."""
    size = size_of(getattr(_config(name, False), "image_size", None))
    return None if size is None else size[0]


def _config(name: str, pretrained: bool) -> Any:
    """What a name is configured as.

    Raises:
        Fault: transformers is not installed, or has no such vision model.
    """
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise Fault(f"hf/{name} needs transformers: {NEEDS}") from error
    if not name:
        raise Fault("hf/ names no model; write hf/vit, hf/FOLDER or hf/OWNER/MODEL")
    folder = Path(name).expanduser()
    if is_kind(name):
        if pretrained:
            raise Fault(f"hf/{name} is a kind and has no weights; name a model: hf/OWNER/MODEL")
        with _silent():
            return _vision(name, AutoConfig.for_model(name))
    if folder.is_dir() and not (folder / "config.json").exists():
        raise Fault(f"hf/{name}: the folder holds no config.json, as save_pretrained writes it")
    if "/" not in name and not folder.is_dir():
        near = get_close_matches(name.lower(), kinds(), n=3, cutoff=0.4)
        hint = f"the nearest are {', '.join(near)}; " if near else ""
        raise Fault(
            f"transformers has no kind of vision model {name!r}; {hint}or name hf/OWNER/MODEL"
            " (relatum list models hf/)"
        )
    try:
        place = str(folder) if folder.is_dir() else name
        with _silent():
            return _vision(name, AutoConfig.from_pretrained(place, trust_remote_code=False))
    except Fault:
        raise
    except Exception as error:  # wrong types in it are refused by a class of their own
        raise Fault(f"hf/{name} cannot be had: {first_line(error)}") from error


def _vision(name: str, config: Any) -> Any:
    """A configuration, its vision part where it has several; refused where it sees no images."""
    parts = getattr(config, "sub_configs", {})
    config = config.vision_config if "vision_config" in parts else config
    if not sees_images(config):
        raise Fault(f"hf/{name} ({config.model_type}) sees no images; name a vision model")
    return config


def _changed(config: Any, changes: Mapping[str, int], name: str, pretrained: bool) -> Any:
    """A configuration for other images; a field that it lacks must have that value anyway."""
    for field, value in changes.items():
        had = getattr(config, field, None)
        if isinstance(had, list | tuple):
            # weights of its own size, which need be no square, fit that size alone
            if not pretrained or list(had[:1]) != [value]:
                setattr(config, field, type(had)([value] * len(had)))
        elif had is not None:
            setattr(config, field, value)
        elif field == "num_channels" and value != 3:
            raise Fault(f"hf/{name} takes images of 3 channels, these have {value}; timm/NAME any")
    return config


def _has_classifier(config: Any) -> bool:
    """Whether what was published classifies."""
    return any(CLASSIFIES in each for each in getattr(config, "architectures", None) or ())


def _kind(config: Any, classes: int, pretrained: bool) -> Any:
    """What builds the model: one with a classifier, where its kind has one and it is wanted."""
    from transformers import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
        AutoModel,
        AutoModelForImageClassification,
    )

    if not classes or type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return AutoModel
    several = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
    if isinstance(several, tuple) and not config.architectures:  # DeiT with its token, or without
        config.architectures = [several[0].__name__]
    return AutoModelForImageClassification


def _loaded(name: str, kind: Any, config: Any, classes: int, flipped: bool) -> HuggingFace:
    folder = Path(name).expanduser()
    if classes and classes != config.num_labels:
        config.num_labels = classes
    with _silent():
        model, told = kind.from_pretrained(
            str(folder) if folder.is_dir() else name,
            config=config,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    missing = {str(each) for each in told["missing_keys"]}
    strange = [each for each in map(_key_of, told["mismatched_keys"]) if not _of_head(model, each)]
    if strange:
        raise Fault(
            f"hf/{name}: the published {strange[0]} has another size here; ask for the size that"
            " it was trained at"
        )
    body = {each for each in missing if _POOLER not in each and not _of_head(model, each)}
    if body:
        raise Fault(f"hf/{name} holds no weights for {sorted(body)[0]!r}, so it was not loaded")
    pooled = not any(_POOLER in each for each in missing)
    return HuggingFace(model, pooled=pooled, flipped=flipped)


@contextmanager
def _silent() -> Iterator[None]:
    """No bar and no report for a while: what matters of them is refused, in one line."""
    from transformers.utils import logging

    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with told_once():
            yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def _key_of(mismatch: Any) -> str:
    return str(mismatch[0]) if isinstance(mismatch, tuple | list) else str(mismatch)


def _of_head(model: Any, key: str) -> bool:
    """Whether a parameter is none of the model's body, but of its classifier."""
    prefix = f"{model.base_model_prefix}."
    return _classifies(model) and not key.startswith(prefix)


def _classifies(model: Any) -> bool:
    return CLASSIFIES in type(model).__name__
