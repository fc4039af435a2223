"""A vision-language model of the transformers library, in this process.

Where torchvision is missing, the processors of the Qwen2-VL family cannot be made; then their parts are put together
here: the Pillow image processor, one <|image_pad|> per merged patch, and the types of the tokens.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from medleyrec.features.describe.answers import Reply
from medleyrec.features.describe.ask import Prompt, RejectedError
from medleyrec.features.describe.budget import Gate
from medleyrec.features.describe.series import AnswerSettings
from medleyrec.features.pretrained.files import file_hashes
from medleyrec.features.pretrained.hub import Say, fetched
from medleyrec.features.pretrained.loading import LOCAL, explained, open_image_processor, open_tokenizer, quiet
from medleyrec.features.pretrained.place import Place, is_hub_name
from medleyrec.schema import InputError
from medleyrec.storage import hash_file, hash_json

SPEECH = ("generation_config.json", "chat_template.json", "chat_template.jinja")
"""Files that decide what a model is told and how it answers, beside those that decide vectors."""
QWEN = ("qwen2_vl", "qwen2_5_vl")
QWEN_PICTURE, QWEN_PAD = "<|vision_start|><|image_pad|><|vision_end|>", "<|image_pad|>"
PLAIN = "USER: {image}{text} ASSISTANT:"
"""The prompt of a model that brings no form of its own, as LLaVA had it first."""


def find_local(model: str, *, offline: bool, say: Say) -> tuple[Place, str]:
    """(where it lies, the name and revision that are kept). Says so before anything is fetched."""
    if not Path(model).expanduser().is_dir() and not is_hub_name(model):
        raise InputError(
            f"--local {model} is no folder; give the folder of a model, or a name on the hub (owner/model)"
        )
    place = fetched(model, offline=offline, say=say)
    if place.commit is not None:
        return place, f"{place.model}@{place.commit[:8]}"
    return place, f"{place.name}@{_fingerprint(place.folder)}"


def _fingerprint(folder: Path) -> str:
    """Of all that decides an answer, whole: fine-tuned twins may differ in the middle of their weights alone."""
    speech = {name: hash_file(folder / name) for name in SPEECH if (folder / name).is_file()}
    return hash_json({**file_hashes(folder), **speech})[:8]


class LocalModel:
    """Answers one question at a time."""

    def __init__(self, folder: Path, settings: AnswerSettings, *, gate: Gate, dtype: str = "auto") -> None:
        with explained(str(folder), "the model"):
            torch, transformers = import_module("torch"), import_module("transformers")
            config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
            self.device = "cuda" if torch.cuda.is_available() else "cpu"
            chosen = ("bfloat16" if self.device == "cuda" else "float32") if dtype == "auto" else dtype
            model, found = transformers.AutoModelForImageTextToText.from_pretrained(
                folder, use_safetensors=True, dtype=getattr(torch, chosen), output_loading_info=True, **LOCAL
            )
        if found["missing_keys"]:
            lacking = sorted(found["missing_keys"])
            raise InputError(
                f"the weights in {folder} lack {len(lacking)} tensors, such as {lacking[0]}; copy them again"
            )
        self.model, self.torch = model.to(self.device).eval(), torch
        self.reader = _reader(folder, config)
        self.folder, self.settings, self.gate = folder, settings, gate

    def __repr__(self) -> str:
        return f"LocalModel({self.folder.name} on {self.device})"

    async def close(self) -> None:
        """Nothing is held."""

    async def ask(self, prompt: Prompt) -> Reply:
        """Raises RejectedError, StoppedError, or InputError where the device has too little memory."""
        async with self.gate.call(prompt) as call:
            reply = await asyncio.to_thread(self._reply, prompt)
            call.tokens_in, call.tokens_out = reply.tokens_in or 0, reply.tokens_out or 0
            return reply

    def _reply(self, prompt: Prompt) -> Reply:
        try:
            with self.torch.inference_mode(), quiet():
                inputs = {k: v.to(self.device) for k, v in self.reader.inputs(prompt).items()}
                if "pixel_values" in inputs:
                    inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
                told = self.model.generate(**inputs, **self._sampling())
        except self.torch.OutOfMemoryError:
            raise InputError(
                f"{self.folder} needs more memory than the device has; lower describe.side or describe.max_tokens, or "
                "take a smaller model or dtype"
            ) from None
        except Exception as error:  # whatever a foreign model, processor or template raises
            raise RejectedError(f"the model fails ({' '.join(str(error).split())[:160]})", free=True) from None
        tokens_in = int(inputs["input_ids"].shape[1])
        new = told[0, tokens_in:]
        ended = bool(len(new)) and int(new[-1]) in _ends(self.model.generation_config)
        full = len(new) >= self.settings.most_out and not ended
        text = self.reader.tokenizer.decode(new, skip_special_tokens=True)
        return Reply(text=text, finish="length" if full else "stop", tokens_in=tokens_in, tokens_out=len(new))

    def _sampling(self) -> dict[str, Any]:
        most, heat = self.settings.most_out, self.settings.temperature
        if heat:
            return {"max_new_tokens": most, "do_sample": True, "temperature": heat}
        return {"max_new_tokens": most, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}


class ProcessorReader:
    """A prompt as the model's own processor reads it."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        images = {} if prompt.picture is None else {"images": [_opened(prompt.picture)]}
        mark = getattr(self.processor, "image_token", "<image>")
        text = _chat(self.processor, self.tokenizer, prompt, mark)
        return dict(self.processor(text=[text], return_tensors="pt", **_begun(text, self.tokenizer), **images))


class QwenReader:
    """The same from parts, for the Qwen2-VL family."""

    def __init__(self, tokenizer: Any, images: Any) -> None:
        self.tokenizer, self.images = tokenizer, images

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        text = _chat(self.tokenizer, self.tokenizer, prompt, QWEN_PICTURE)
        seen: dict[str, Any] = {}
        if prompt.picture is not None:
            seen = dict(self.images(images=[_opened(prompt.picture)], return_tensors="pt"))
            pads = int(seen["image_grid_thw"][0].prod()) // self.images.merge_size**2
            text = text.replace(QWEN_PAD, QWEN_PAD * pads, 1)
        told = dict(self.tokenizer([text], return_tensors="pt", **_begun(text, self.tokenizer)))
        pad = self.tokenizer.convert_tokens_to_ids(QWEN_PAD)
        return {**told, **seen, "mm_token_type_ids": (told["input_ids"] == pad).long()}


def _reader(folder: Path, config: Any) -> ProcessorReader | QwenReader:
    with explained(str(folder), "the processor"):
        transformers: Any = import_module("transformers")
        if config.model_type not in QWEN or transformers.utils.is_torchvision_available():
            return ProcessorReader(transformers.AutoProcessor.from_pretrained(folder, **LOCAL))
    return QwenReader(open_tokenizer(folder, str(folder)), open_image_processor(folder, str(folder)))


def _chat(owner: Any, tokenizer: Any, prompt: Prompt, image_mark: str) -> str:
    """The prompt in the model's own form of a chat, or in a plain one where it has none."""
    system, text = (_without_marks(part, tokenizer, image_mark) for part in (prompt.system, prompt.text))
    if not getattr(owner, "chat_template", None):
        image = "" if prompt.picture is None else f"{image_mark}\n"
        return PLAIN.format(image=image, text=f"{system}\n{text}".strip())
    from jinja2 import TemplateError

    seen = [] if prompt.picture is None else [{"type": "image"}]
    first = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []

    def rendered(before: list[dict[str, Any]], text: str) -> str:
        messages = [*before, {"role": "user", "content": [*seen, {"type": "text", "text": text}]}]
        return str(owner.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    try:
        return rendered(first, text)
    except TemplateError:  # some, such as Gemma's, know no system turn
        return rendered([], f"{system}\n{text}".strip())


def _begun(text: str, tokenizer: Any) -> dict[str, bool]:
    """A template that wrote the first token itself leaves none for the tokenizer to add."""
    sign = tokenizer.bos_token
    return {"add_special_tokens": False} if sign and text.startswith(sign) else {}


def _without_marks(text: str, tokenizer: Any, image_mark: str) -> str:
    """A title that holds the sign of a picture, or of a turn of the chat, must not become one."""
    signs = {image_mark, *(str(token) for token in tokenizer.added_tokens_decoder.values())}
    for sign in sorted(filter(str.strip, signs), key=len, reverse=True):
        text = text.replace(sign, " ")
    return text


def _opened(jpeg: bytes) -> Any:
    from PIL import Image

    return Image.open(BytesIO(jpeg)).convert("RGB")


def _ends(generation: Any) -> set[int]:
    end = generation.eos_token_id
    return set(end) if isinstance(end, list) else set() if end is None else {end}
