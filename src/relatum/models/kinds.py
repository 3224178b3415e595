"""The kinds of vision model that transformers builds from a name alone."""

from pathlib import Path
from typing import Any

from relatum.types import Fault

NEEDS = "pip install relatum[huggingface]"
OTHERWISE = {"imagegpt", "metaclip_2", "perceiver", "shieldgemma2"}
OTHERWISE |= {"timm_backbone", "timm_wrapper"}
"""Kinds that read something else than an image, are a part of others, or another library's."""


def kinds() -> list[str]:
    """The kinds of model that transformers builds for images, by the names of their configurations.

    Raises:
        Fault: transformers is not installed.
    """
    try:
        from transformers import CONFIG_MAPPING
        from transformers.models.auto import modeling_auto
    except ImportError as error:
        raise Fault(f"hf/… needs transformers: {NEEDS}") from error
    backbones = set(modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES)
    every = backbones & set(modeling_auto.MODEL_MAPPING_NAMES)  # others are parts of detectors
    every |= set(modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)
    return sorted((every & set(CONFIG_MAPPING)) - OTHERWISE)


def is_kind(name: str) -> bool:
    """Whether a name is that of a kind, and not of a folder of that name."""
    from transformers import CONFIG_MAPPING

    return name in CONFIG_MAPPING and not (Path(name).expanduser() / "config.json").exists()


def sees_images(config: Any) -> bool:
    """Whether a configuration is that of a vision model."""
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    told = {"image_size", "num_channels", "patch_size"} & set(config.to_dict())
    classifies = type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    return bool(told) or (classifies and config.model_type not in OTHERWISE)
