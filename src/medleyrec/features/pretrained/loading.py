"""transformers and sentence-transformers: imported late, never online, never with code or pickles of a model's own."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medleyrec.features.pretrained.files import EXTRA
from medleyrec.schema import InputError

if TYPE_CHECKING:
    import torch

    from medleyrec.features.pretrained.settings import ModelConfig

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


@contextmanager
def quiet() -> Iterator[None]:
    """These libraries talk while they load: logs, bars and warnings are kept from the terminal, then let be again."""
    try:
        hub: Any = import_module("huggingface_hub.utils")
        told: Any = import_module("transformers.utils.logging")
    except ImportError:
        raise InputError(EXTRA) from None
    level, bars = logging.root.manager.disable, told.is_progress_bar_enabled()
    hub_quiet = hub.are_progress_bars_disabled()
    logging.disable(logging.WARNING)
    told.disable_progress_bar()
    hub.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if bars:
            told.enable_progress_bar()
        if not hub_quiet:
            hub.enable_progress_bars()


@contextmanager
def explained(name: str, what: str) -> Iterator[None]:
    """Whatever a foreign library raises while it opens files becomes one sentence."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"{name} cannot be opened: {first_line(error)}; install what it asks for") from None
    except Exception as error:
        raise InputError(
            f"{what} of {name} cannot be opened ({first_line(error)}); is it a whole model of Hugging Face "
            "transformers?"
        ) from None


def open_model(folder: Path, name: str, config: ModelConfig) -> tuple[Any, frozenset[str]]:
    """(the model in evaluation mode on its device, names of tensors that its weights lack).

    Of tensors that the weights lack only those of a pooler are let pass, as random numbers, for the caller to leave
    alone.
    """
    with explained(name, "the model"):
        from transformers import AutoModel

        model, found = AutoModel.from_pretrained(
            folder, dtype=dtype_of(config), use_safetensors=True, output_loading_info=True, **LOCAL
        )
    missing = frozenset(found["missing_keys"])
    lacking = sorted(key for key in missing if "pooler" not in key)
    if lacking:
        raise InputError(
            f"the weights of {name} do not fit its config: {len(lacking)} tensors are missing, such as {lacking[0]}; "
            "copy all its files again"
        )
    return model.to(device_of(config)).eval(), missing


def open_tokenizer(folder: Path, name: str) -> Any:
    """Pads on the right, so that a text's tokens stand where they stand alone."""
    with explained(name, "the tokenizer"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token  # the mask hides it, whatever it is
    return tokenizer


def open_image_processor(folder: Path, name: str) -> Any:
    """Of Pillow and numpy, whether torchvision is installed or not, so that equal files give equal pixels."""
    if not any((folder / file).is_file() for file in PROCESSOR_FILES):
        raise InputError(f"{name} has no image processor ({PROCESSOR_FILES[0]}); is it a model of pictures?")
    with explained(name, "the image processor"):
        processors: Any = import_module("transformers").AutoImageProcessor
        return processors.from_pretrained(folder, backend="pil", **LOCAL)


def open_sentence_model(folder: Path, name: str, config: ModelConfig) -> Any:
    with explained(name, "the sentence-transformers model"):
        from sentence_transformers import SentenceTransformer

        options = {"dtype": dtype_of(config), "use_safetensors": True}
        model = SentenceTransformer(str(folder), device=str(device_of(config)), model_kwargs=options, **LOCAL)
    return model.eval()


def device_of(config: ModelConfig) -> torch.device:
    """Raises InputError where that device is not here."""
    import torch

    wanted = config.device
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"the device {wanted!r} cannot be used ({first_line(error)}); take cpu or auto") from None
    return device


def dtype_name(config: ModelConfig) -> str:
    """float32, float16 or bfloat16: what auto means on this machine."""
    import torch

    if config.dtype != "auto":
        return config.dtype
    if device_of(config).type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def dtype_of(config: ModelConfig) -> torch.dtype:
    import torch

    dtype: torch.dtype = getattr(torch, dtype_name(config))
    return dtype


def first_line(error: BaseException) -> str:
    """Of what a foreign library says, the begin."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160].rstrip(" .;:")
