"""Tiny models with random weights, saved as users have them: real classes, tokenizer, image processor, safetensors.

No network. The words of the tokenizers are those of the tests; everything else becomes single characters.
"""

from __future__ import annotations

import shutil
import string
from pathlib import Path
from typing import Any

import torch

TEXT = """red green blue yellow black white shirt shoe hat coat thing number of the a an item has these attributes
    title is categories are brand price description small large round square cotton leather shop"""
WORDS = TEXT.split()
CHARACTERS = [*string.ascii_lowercase, *string.digits, *".,:;-'\"!?&()/"]
SIDE = 32  # pixels
BODY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
PICTURES = {**BODY, "image_size": SIDE, "patch_size": 8}


def _seeded(make: Any, config: Any) -> Any:
    torch.manual_seed(0)
    return make(config).eval()


def wordpieces() -> list[str]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return [*special, *WORDS, *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]


def bert_tokenizer(max_length: int = 64) -> Any:
    from transformers import BertTokenizerFast

    vocabulary = {word: n for n, word in enumerate(wordpieces())}
    return BertTokenizerFast(vocab=vocabulary, model_max_length=max_length)


def save_bert(folder: Path, *, pooler: bool = True) -> Path:
    """A BERT of width 16 with at most 64 tokens."""
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=len(wordpieces()), max_position_embeddings=64, **BODY)
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=pooler).eval().save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    return folder


def save_roberta(folder: Path) -> Path:
    """A RoBERTa of width 16: of its 34 places, 32 are for tokens. Its tokenizer says nothing of that."""
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(vocab_size=len(wordpieces()), max_position_embeddings=34, pad_token_id=1, **BODY)
    _seeded(RobertaModel, config).save_pretrained(folder)
    bert_tokenizer(max_length=10**6).save_pretrained(folder)
    return folder


def save_sentence(folder: Path) -> Path:
    """The BERT with mean pooling, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer, models

    parts = [models.Transformer(str(save_bert(folder / "bert"))), models.Pooling(BODY["hidden_size"])]
    SentenceTransformer(modules=parts, device="cpu").save(str(folder))
    shutil.rmtree(folder / "bert")
    return folder


def save_static(folder: Path) -> Path:
    """A vector of width 8 for each word, and nothing else, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer, models

    torch.manual_seed(0)
    words = bert_tokenizer().backend_tokenizer
    static = models.StaticEmbedding(words, embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu").save(str(folder))
    return folder


def word_tokenizer(*, end: str, pad: str, max_length: int, names: list[str]) -> Any:
    """Whole words and characters with an end mark, as the text towers of dual models have it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {w: n for n, w in enumerate(dict.fromkeys([pad, "<unk>", end, *WORDS, *CHARACTERS]))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, vocabulary[end])])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        eos_token=end,
        pad_token=pad,
        model_max_length=max_length,
        model_input_names=names,
    )


def save_clip(folder: Path) -> Path:
    """A CLIP whose towers are 16 wide and meet at 12; texts of at most 20 tokens, pictures of 32 x 32."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    tokenizer = word_tokenizer(end="<end>", pad="<pad>", max_length=20, names=["input_ids", "attention_mask"])
    text = {
        **BODY,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 20,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    config = CLIPConfig(text_config=text, vision_config=PICTURES, projection_dim=12)
    _seeded(CLIPModel, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)
    return folder


def save_siglip(folder: Path) -> Path:
    """A SigLIP of width 16; its texts are always padded to 20 tokens, as it was trained."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    tokenizer = word_tokenizer(end="</s>", pad="</s>", max_length=20, names=["input_ids"])
    text = {**BODY, "vocab_size": len(tokenizer), "max_position_embeddings": 20, "projection_size": 16}
    text |= {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = SiglipConfig(text_config=text, vision_config=PICTURES)
    _seeded(SiglipModel, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def save_vit(folder: Path, *, pooler: bool = True) -> Path:
    """A ViT of width 16 for pictures of 32 x 32."""
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    torch.manual_seed(0)
    ViTModel(ViTConfig(**PICTURES), add_pooling_layer=pooler).eval().save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def save_dinov2(folder: Path) -> Path:
    """A DINOv2 of width 16 for pictures of 32 x 32, cut from the middle."""
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    config = Dinov2Config(**{k: v for k, v in PICTURES.items() if k != "intermediate_size"}, mlp_ratio=2)
    _seeded(Dinov2Model, config).save_pretrained(folder)
    size = {"shortest_edge": SIDE + 8}
    BitImageProcessorPil(size=size, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def save_decoder(folder: Path) -> Path:
    """A causal Qwen2 of width 16, for pooling of the last token."""
    from transformers import Qwen2Config, Qwen2Model

    tokenizer = word_tokenizer(end="<end>", pad="<pad>", max_length=64, names=["input_ids", "attention_mask"])
    config = Qwen2Config(**BODY, vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=64)
    _seeded(Qwen2Model, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
