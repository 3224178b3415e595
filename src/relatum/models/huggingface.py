"""Networks of Hugging Face's transformers, which is imported only when one is asked for."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from relatum.types import Fault, Images, Input, first_line

NEEDS = "pip install relatum[huggingface]"
CLASSIFIES = "ForImageClassification"
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

    Attributes:
        num_classes: how many logits there are; 0 for a model that gives an embedding.
    """

    def __init__(self, model: Any, pooled: bool = True) -> None:
        super().__init__()
        # The same dictionaries: what is moved, replaced or sharded here is so in the model. The
        # model is hidden in a tuple, or its parameters would be there twice.
        self._modules, self._parameters = model._modules, model._parameters
        self._buffers = model._buffers
        self._non_persistent_buffers_set = model._non_persistent_buffers_set
        self._hidden = (model.eval(),)  # its own flag stays so; layers have theirs
        for module in self.children():
            module.train()
        self.pooled = pooled
        self.num_classes = int(model.config.num_labels) if _classifies(model) else 0

    def forward(self, images: Images) -> Tensor:
        """Images, normalised, to logits or to an embedding."""
        said = self._hidden[0](pixel_values=images, return_dict=True)
        if self.num_classes:
            logits: Tensor = said.logits
            return logits
        pooled: Tensor | None = getattr(said, "pooler_output", None) if self.pooled else None
        if pooled is None:
            return self._pool(getattr(said, "image_embeds", None), said)
        return pooled.flatten(1)

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
    config = _changed(config, changes, name)
    kind = _kind(config, classes, pretrained)
    try:
        if not pretrained:
            if classes:
                config.num_labels = classes
            return HuggingFace(kind.from_config(config))
        return _loaded(name, kind, config, classes)
    except Fault:
        raise
    except UnpicklingError as error:
        raise Fault(
            f"hf/{name}: its weights are a pickle of more than tensors, so they were not loaded:"
            " such a file can run code; save them by save_pretrained, as safetensors"
        ) from error
    except Exception as error:  # what is in its files can break anything, in any way
        raise Fault(f"hf/{name} cannot be built: {first_line(error)}") from error


def published_huggingface(name: str) -> tuple[int, Input]:
    """How many classes a model's weights tell apart (0: an embedding), and how they want images.

    Raises:
        Fault: there is no such model, or no weights of it.
    """
    config = _config(name, True)
    classes = int(config.num_labels) if _has_classifier(config) else 0
    return classes, _input(name, config)


def size_of_huggingface(name: str) -> int | None:
    """For what size a model is built, where it is for one."""
    return _square(getattr(_config(name, False), "image_size", None))


def _config(name: str, pretrained: bool) -> Any:
    """What a name is configured as.

    Raises:
        Fault: transformers is not installed, or has no such vision model.
    """
    try:
        from transformers import CONFIG_MAPPING, AutoConfig
    except ImportError as error:
        raise Fault(f"hf/{name} needs transformers: {NEEDS}") from error
    if not name:
        raise Fault("hf/ names no model; write hf/vit, hf/FOLDER or hf/OWNER/MODEL")
    folder = Path(name).expanduser()
    if name in CONFIG_MAPPING and not (folder / "config.json").exists():
        if pretrained:
            raise Fault(f"hf/{name} is a kind and has no weights; name a model: hf/OWNER/MODEL")
        return _vision(name, AutoConfig.for_model(name))
    if folder.is_dir() and not (folder / "config.json").exists():
        raise Fault(f"hf/{name}: the folder holds no config.json, as save_pretrained writes it")
    if "/" not in name and not folder.is_dir():
        near = get_close_matches(name, list(CONFIG_MAPPING), n=3, cutoff=0.4)
        hint = f"the nearest are {', '.join(near)}; " if near else ""
        raise Fault(f"transformers has no kind of model {name!r}; {hint}or name hf/OWNER/MODEL")
    try:
        place = str(folder) if folder.is_dir() else name
        return _vision(name, AutoConfig.from_pretrained(place, trust_remote_code=False))
    except Fault:
        raise
    except Exception as error:  # wrong types in it are refused by a class of their own
        raise Fault(f"hf/{name} cannot be had: {first_line(error)}") from error


def _vision(name: str, config: Any) -> Any:
    """A configuration, its vision part where it has several; refused where it sees no images."""
    parts = getattr(config, "sub_configs", {})
    config = config.vision_config if "vision_config" in parts else config
    if not ({"image_size", "num_channels", "patch_size"} & set(config.to_dict())):
        raise Fault(f"hf/{name} ({config.model_type}) sees no images; name a vision model")
    return config


def _changed(config: Any, changes: Mapping[str, int], name: str) -> Any:
    """A configuration for other images; a field that it lacks must have that value anyway."""
    for field, value in changes.items():
        had = getattr(config, field, None)
        if isinstance(had, list | tuple):
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

    has = type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    return AutoModelForImageClassification if classes and has else AutoModel


def _loaded(name: str, kind: Any, config: Any, classes: int) -> HuggingFace:
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
    return HuggingFace(model, pooled=not any(_POOLER in each for each in missing))


@contextmanager
def _silent() -> Iterator[None]:
    """No bar and no report for a while: what matters of them is refused, in one line."""
    from transformers.utils import logging

    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
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


def _input(name: str, config: Any) -> Input:
    """How a model's own image processor prepares images; the size that it is built for else."""
    told = _processor(name)
    try:
        return _input_from(told, config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Fault(
            f"hf/{name}: its preprocessor_config.json cannot be read: {first_line(error)}"
        ) from error


def _input_from(told: Mapping[str, Any], config: Any) -> Input:
    size = _square(told.get("crop_size")) if told.get("do_center_crop") else None
    size = size or _square(told.get("size")) or _square(getattr(config, "image_size", None))
    plain = not told.get("do_normalize", True) or not told.get("image_mean")
    mean = (0.0,) if plain else tuple(map(float, told["image_mean"]))
    std = (1.0,) if plain else tuple(map(float, told["image_std"]))
    return Input(None if size is None else (size, size), mean, std)


def _processor(name: str) -> dict[str, Any]:
    from transformers.image_processing_base import ImageProcessingMixin

    folder = Path(name).expanduser()
    try:
        place = str(folder) if folder.is_dir() else name
        told, _ = ImageProcessingMixin.get_image_processor_dict(place)
    except (OSError, json.JSONDecodeError):
        return {}
    return dict(told)


def _square(size: Any) -> int | None:
    """One side, of all the ways in which a size is written."""
    if isinstance(size, Mapping):
        size = next((size[key] for key in ("height", "shortest_edge") if size.get(key)), None)
    if isinstance(size, list | tuple):
        size = size[0] if size else None
    return int(size) if isinstance(size, int | float) and size else None
