"""Tiny vision-language models with random weights, saved as users have them: config, safetensors, tokenizer, processor.

No network. A Qwen2-VL, a Qwen2.5-VL and a LLaVA over one tokenizer of bytes, so that any text can be asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,  # large, so that what is said depends on what is seen
}
SIGNS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<image>",
]
SIGNS += ["<|video_pad|>"]
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAVA_CHAT = (
    "{% for m in messages %}{{ m['role'].upper() }}: {% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endif %}\n{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def tokenizer() -> Any:
    """Bytes and signs; no merges, so that a token is a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({c: n for n, c in enumerate(letters)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.add_special_tokens({"additional_special_tokens": SIGNS})
    return made


def save_qwen(folder: Path, *, newer: bool = False) -> Path:
    """Qwen2-VL, or Qwen2.5-VL; squares of 14 pixels, merged by two and two."""
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    kind = "Qwen2_5_VL" if newer else "Qwen2VL"
    words = tokenizer()
    words.chat_template = QWEN_CHAT
    ids = {sign: words.convert_tokens_to_ids(sign) for sign in SIGNS}
    seeing: dict[str, Any] = {"depth": 1, "num_heads": 2, "patch_size": 14, "in_channels": 3, "spatial_merge_size": 2}
    if newer:
        seeing |= {"hidden_size": 32, "intermediate_size": 32, "out_hidden_size": 32, "fullatt_block_indexes": [0]}
    else:
        seeing |= {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 1}
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    ends = {"bos_token_id": None, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    config = getattr(transformers, f"{kind}Config")(
        text_config={**TEXT, "vocab_size": len(words), "rope_parameters": rope, **ends},
        vision_config=seeing,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config)
    _saved(folder, model, words, ends["eos_token_id"])
    Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=112 * 112).save_pretrained(folder)
    return folder


def save_llava(folder: Path, *, chat: bool = True) -> Path:
    """A CLIP tower of 28 pixels over a Llama."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": SIGNS})
    image, end = words.convert_tokens_to_ids("<image>"), words.convert_tokens_to_ids("<|im_end|>")
    seeing = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    told = LlamaConfig(**TEXT, vocab_size=len(words), bos_token_id=None, eos_token_id=end, pad_token_id=end)
    config = LlavaConfig(vision_config=seeing, text_config=told, image_token_index=image, image_seq_length=4)
    torch.manual_seed(0)
    _saved(folder, LlavaForConditionalGeneration(config), words, end)
    size = {"height": 28, "width": 28}
    images = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=size)
    LlavaProcessor(
        image_processor=images,
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_CHAT if chat else None,
    ).save_pretrained(folder)
    return folder


def _saved(folder: Path, model: Any, words: Any, end: int) -> None:
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = end
    model.eval().save_pretrained(folder)
    words.save_pretrained(folder)
