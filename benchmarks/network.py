"""One network built twice: Hugging Face's ViT + GPT-2 decoder, and the same layers as a user's own kinds in Plait.

In: sizes; for the copy of weights, a `VisionEncoderDecoderModel`.
Out: a Plait `Model` with an image encoder (class token, learned positions), a language model whose blocks are GPT-2's cut
in two (attention, feed-forward) and a fusion that reads the picture between the halves; and the weights of the one as those
of the other.
Invariant: both compute the same function, from the same numbers, of the same parameters: no projection is left out, and none
is added, so that equal settings train to equal losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from plait.choices import Config
from plait.config import RunConfig
from plait.embeddings import Embedding
from plait.encoders import Encoder
from plait.fusion import Fusion, FusionOptions
from plait.layers import Attention, FeedForward, attention_bias, causal_mask
from plait.lm import Block, LanguageModel, LMOptions, Steps
from plait.lm.transformer import extend
from plait.model import Model
from plait.types import Condition, Features, Items

VIT_EPSILON, GPT2_EPSILON = 1e-12, 1e-5


@dataclass(frozen=True)
class Sizes:
    """Of both networks."""

    width: int = 256
    num_heads: int = 4
    encoder_layers: int = 6
    decoder_layers: int = 4
    pixels: int = 64
    patch: int = 8
    vocabulary: int = 4000
    tokens: int = 32
    positions: int = 64

    @property
    def num_patches(self) -> int:
        """Of a picture."""
        return (self.pixels // self.patch) ** 2


class ClassTokenViTConfig(Config):
    """Hugging Face's ViT, for pictures of one size."""

    kind: Literal["benchmarks.network:ClassTokenViTConfig"] = "benchmarks.network:ClassTokenViTConfig"
    patch: int = 8
    pixels: int = 64
    layers: int = 6
    num_heads: int = 4

    def build(self, width: int, *, channels: int = 3, read_weights: bool = True) -> ClassTokenViT:
        """The encoder."""
        return ClassTokenViT(self, width, channels)


class ViTBlock(nn.Module):
    """Pre-norm self-attention and feed-forward layers, every key readable."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=VIT_EPSILON)
        self.attention = Attention(width, width, num_heads, bias=True)
        self.feed_forward_norm = nn.LayerNorm(width, eps=VIT_EPSILON)
        self.feed_forward = FeedForward(width)

    def forward(self, values: Float[Tensor, "R L D"]) -> Float[Tensor, "R L D"]:
        """The block."""
        normed = self.attention_norm(values)
        values = values + self.attention(normed, *self.attention.keys(normed))
        return values + self.feed_forward(self.feed_forward_norm(values))


class ClassTokenViT(Encoder):
    """Patches and a class token, learned positions, blocks, a last norm."""

    def __init__(self, config: ClassTokenViTConfig, width: int, channels: int) -> None:
        super().__init__()
        self.width, self.patch = width, config.patch
        side = config.pixels // config.patch
        self.embed = nn.Linear(channels * config.patch**2, width)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, side**2 + 1, width) * 0.02)
        self.blocks = nn.ModuleList(ViTBlock(width, config.num_heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, eps=VIT_EPSILON)

    def forward(self, items: Items) -> Features:
        """Every patch of every picture, having read all others."""
        side = items.values.shape[-1] // self.patch
        patches = items.values.unflatten(3, (side, self.patch)).unflatten(2, (side, self.patch))
        tokens = self.embed(patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))
        values = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1) + self.positions
        for block in self.blocks:
            values = block(values)
        return Features(self.norm(values), torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def num_tokens(self, *size: int) -> int:
        """Patches and the class token."""
        rows, columns = size
        return (rows // self.patch) * (columns // self.patch) + 1


class HalvedGPT2Config(LMOptions):
    """GPT-2 with learned positions; `layers` counts halves, so that a fusion can act between the two of one layer."""

    kind: Literal["benchmarks.network:HalvedGPT2Config"] = "benchmarks.network:HalvedGPT2Config"
    num_heads: int = 4
    positions: int = 64
    tie_weights: bool = True

    def build(self, *, width: int, vocabulary_size: int, pad_id: int, vectors: Tensor | None = None) -> LanguageModel:
        """The language model, with GPT-2's unscaled embedding and its LayerNorm before the head."""
        lm = LanguageModel(self, width=width, vocabulary_size=vocabulary_size, pad_id=pad_id, vectors=vectors)
        lm.embedding = UnscaledEmbedding(torch.randn(vocabulary_size, width) * 0.02, width, frozen=False, pad_id=pad_id)
        lm.norm = nn.LayerNorm(width, eps=GPT2_EPSILON)  # pyright: ignore[reportAttributeAccessIssue]
        return lm

    def build_blocks(self, width: int) -> list[Block]:
        """Attention halves at even numbers, feed-forward halves at odd ones; the first adds the positions."""
        halves: list[Block] = []
        for number in range(0, self.layers, 2):
            halves += [AttentionHalf(self, width, has_positions=number == 0), FeedForwardHalf(width)]
        return halves


class UnscaledEmbedding(Embedding):
    """A table looked up as it is."""

    def forward(self, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape width"]:
        """The rows of the ids."""
        return F.embedding(ids, self.table)


class AttentionHalf(Block):
    """The first half of a GPT-2 layer: causal self-attention."""

    columns: ClassVar[Mapping[str, int | None]] = {"keys": 2, "values": 2}

    def __init__(self, config: HalvedGPT2Config, width: int, *, has_positions: bool) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(config.positions, width) * 0.02) if has_positions else None
        self.norm = nn.LayerNorm(width, eps=GPT2_EPSILON)
        self.attention = Attention(width, width, config.num_heads, bias=True)

    def plan(self, states: Float[Tensor, "B T D"], mask: Tensor | None, num_past: int) -> dict[str, Tensor]:
        """The causal bias, none for a single step."""
        num_steps = states.shape[1]
        if num_steps == 1:
            return {}
        readable = causal_mask(num_steps, num_past + num_steps, states.device)[None, None]
        return {"bias": attention_bias(readable)}

    def forward(
        self, states: Float[Tensor, "B T D"], memory: Mapping[str, Tensor], steps: Steps, *, remember: bool
    ) -> tuple[Float[Tensor, "B T D"], Mapping[str, Tensor]]:
        """Read the words so far."""
        num_keys = steps.num_past + states.shape[1]
        if self.positions is not None:
            states = states + self.positions[steps.num_past : num_keys]
        normed = self.norm(states)
        keys, values = self.attention.keys(normed)
        memory = extend(memory, keys, values, steps.num_past) if remember else {}
        if steps.num_past:
            keys, values = memory["keys"][:, :, :num_keys], memory["values"][:, :, :num_keys]
        return states + self.attention(normed, keys, values, bias=steps.plan.get("bias")), memory


class FeedForwardHalf(Block):
    """The second half of a GPT-2 layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=GPT2_EPSILON)
        self.feed_forward = FeedForward(width)

    def forward(
        self, states: Float[Tensor, "B T D"], memory: Mapping[str, Tensor], steps: Steps, *, remember: bool
    ) -> tuple[Float[Tensor, "B T D"], Mapping[str, Tensor]]:
        """Think, position by position."""
        return states + self.feed_forward(self.norm(states)), memory


class PictureReaderConfig(FusionOptions):
    """GPT-2's cross-attention, between the halves of every layer."""

    kind: Literal["benchmarks.network:PictureReaderConfig"] = "benchmarks.network:PictureReaderConfig"
    num_heads: int = 4

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> PictureReader:
        """The fusion."""
        return PictureReader(self, width, feature_widths["image"], num_blocks)


class PictureReader(Fusion):
    """`x + Attn(norm(x), picture)`, without a gate; every sample has a picture."""

    def __init__(self, config: PictureReaderConfig, width: int, feature_width: int, num_blocks: int) -> None:
        super().__init__()
        self.at = tuple(range(1, num_blocks, 2))
        self.norms = nn.ModuleDict({str(place): nn.LayerNorm(width, eps=GPT2_EPSILON) for place in self.at})
        self.attentions = nn.ModuleDict(
            {str(place): Attention(width, feature_width, config.num_heads, bias=True) for place in self.at}
        )

    def attention(self, place: int) -> Attention:
        """The cross-attention of one place."""
        attention = self.attentions[str(place)]
        assert isinstance(attention, Attention)
        return attention

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """Keys and values for each place."""
        values: dict[str, Tensor] = {}
        for place in self.at:
            keys = self.attention(place).keys(features["image"].values)
            values[f"keys.{place}"], values[f"values.{place}"] = keys
        return Condition(values)

    def fuse(self, states: Float[Tensor, "B T D"], condition: Condition, place: int) -> Float[Tensor, "B T D"]:
        """What each position sees, added to it."""
        keys, values = condition.values[f"keys.{place}"], condition.values[f"values.{place}"]
        return states + self.attention(place)(self.norms[str(place)](states), keys, values)


def configuration(sizes: Sizes, **train: Any) -> RunConfig:
    """The run that a user would write for this network."""
    here = "benchmarks.network:"
    return RunConfig.model_validate(
        {
            "data": {"manifest": "none.jsonl", "inputs": ["image"]},
            "width": sizes.width,
            "encoders": {
                "image": {
                    "kind": here + "ClassTokenViTConfig",
                    "patch": sizes.patch,
                    "pixels": sizes.pixels,
                    "layers": sizes.encoder_layers,
                    "num_heads": sizes.num_heads,
                }
            },
            "fusion": {"kind": here + "PictureReaderConfig", "num_heads": sizes.num_heads},
            "lm": {
                "kind": here + "HalvedGPT2Config",
                "layers": 2 * sizes.decoder_layers,
                "num_heads": sizes.num_heads,
                "positions": sizes.positions,
            },
            "train": train,
        }
    )


def build(config: RunConfig, sizes: Sizes, *, pad_id: int = 0) -> Model:
    """The Plait network (what `plait.build` does, without a tokenizer)."""
    encoder = config.encoders.image.build(config.width)
    lm = config.lm.build(width=config.width, vocabulary_size=sizes.vocabulary, pad_id=pad_id)
    fusion = config.fusion.build(width=config.width, feature_widths={"image": config.width}, num_blocks=lm.num_blocks)
    return Model(encoders={"image": encoder}, fusion=fusion, lm=lm)


def hugging_face(sizes: Sizes, *, start_id: int = 0, pad_id: int = 0, attention: str | None = None) -> Any:
    """The Hugging Face network, without dropout and with the exact GELU on both sides."""
    from transformers import GPT2Config, GPT2LMHeadModel, VisionEncoderDecoderModel, ViTConfig, ViTModel

    encoder = ViTConfig(
        hidden_size=sizes.width,
        num_hidden_layers=sizes.encoder_layers,
        num_attention_heads=sizes.num_heads,
        intermediate_size=4 * sizes.width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        image_size=sizes.pixels,
        patch_size=sizes.patch,
        layer_norm_eps=VIT_EPSILON,
    )
    decoder = GPT2Config(
        vocab_size=sizes.vocabulary,
        n_positions=sizes.positions,
        n_embd=sizes.width,
        n_layer=sizes.decoder_layers,
        n_head=sizes.num_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        layer_norm_epsilon=GPT2_EPSILON,
        activation_function="gelu",
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=start_id,
        eos_token_id=None,
        pad_token_id=pad_id,
    )
    model = VisionEncoderDecoderModel(
        encoder=ViTModel(encoder, add_pooling_layer=False), decoder=GPT2LMHeadModel(decoder)
    )
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = start_id, pad_id, None
    if attention is not None:
        model.set_attn_implementation(attention)
    return model


def converted(theirs: Mapping[str, Tensor], sizes: Sizes) -> dict[str, Tensor]:
    """The state of a `VisionEncoderDecoderModel` under Plait's names; GPT-2 keeps its matrices transposed."""
    ours: dict[str, Tensor] = {}

    def linear(name: str, source: str, *, transposed: bool) -> None:
        weight = theirs[f"{source}.weight"]
        ours[f"{name}.weight"] = weight.T if transposed else weight
        ours[f"{name}.bias"] = theirs[f"{source}.bias"]

    def norm(name: str, source: str) -> None:
        linear(name, source, transposed=False)

    embed = "encoder.embeddings."
    ours["encoders.image.class_token"] = theirs[embed + "cls_token"]
    ours["encoders.image.positions"] = theirs[embed + "position_embeddings"]
    ours["encoders.image.embed.weight"] = theirs[embed + "patch_embeddings.projection.weight"].flatten(1)
    ours["encoders.image.embed.bias"] = theirs[embed + "patch_embeddings.projection.bias"]
    norm("encoders.image.norm", "encoder.layernorm")
    for number in range(sizes.encoder_layers):
        name, source = f"encoders.image.blocks.{number}", f"encoder.layers.{number}"
        norm(f"{name}.attention_norm", f"{source}.layernorm_before")
        norm(f"{name}.feed_forward_norm", f"{source}.layernorm_after")
        linear(f"{name}.attention.query", f"{source}.attention.q_proj", transposed=False)
        for part in ("weight", "bias"):
            both = [theirs[f"{source}.attention.{letter}_proj.{part}"] for letter in "kv"]
            ours[f"{name}.attention.key_value.{part}"] = torch.cat(both)
        linear(f"{name}.attention.output", f"{source}.attention.o_proj", transposed=False)
        linear(f"{name}.feed_forward.expand", f"{source}.mlp.fc1", transposed=False)
        linear(f"{name}.feed_forward.contract", f"{source}.mlp.fc2", transposed=False)
    decoder = "decoder.transformer."
    ours["lm.embedding.table"] = theirs[decoder + "wte.weight"]
    ours["lm.blocks.0.positions"] = theirs[decoder + "wpe.weight"]
    norm("lm.norm", decoder + "ln_f")
    for number in range(sizes.decoder_layers):
        reads, thinks, source = f"lm.blocks.{2 * number}", f"lm.blocks.{2 * number + 1}", f"{decoder}h.{number}"
        norm(f"{reads}.norm", f"{source}.ln_1")
        for part in ("weight", "bias"):
            query, rest = theirs[f"{source}.attn.c_attn.{part}"].t().split([sizes.width, 2 * sizes.width])
            ours[f"{reads}.attention.query.{part}"], ours[f"{reads}.attention.key_value.{part}"] = query, rest
        linear(f"{reads}.attention.output", f"{source}.attn.c_proj", transposed=True)
        place = 2 * number + 1
        norm(f"fusion.norms.{place}", f"{source}.ln_cross_attn")
        linear(f"fusion.attentions.{place}.query", f"{source}.crossattention.q_attn", transposed=True)
        linear(f"fusion.attentions.{place}.key_value", f"{source}.crossattention.c_attn", transposed=True)
        linear(f"fusion.attentions.{place}.output", f"{source}.crossattention.c_proj", transposed=True)
        norm(f"{thinks}.norm", f"{source}.ln_2")
        linear(f"{thinks}.feed_forward.expand", f"{source}.mlp.c_fc", transposed=True)
        linear(f"{thinks}.feed_forward.contract", f"{source}.mlp.c_proj", transposed=True)
    return {name: value.detach().clone().contiguous() for name, value in ours.items()}
