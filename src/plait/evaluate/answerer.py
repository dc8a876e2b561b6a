"""A trained run as something that can be asked: samples in, texts and losses out.

In: a `Run` and samples.
Out: batches, `Generated` texts, and each sample's loss per segment in bits.
Invariant: nothing is drawn or augmented; samples come back in their own order, those that cannot be read (`data.on_error: skip`)
are missing and listed in `left_out`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch

from plait.config import GenerateConfig
from plait.data.draws import Draw
from plait.data.manifest import LeftOut
from plait.data.preprocess import Preprocessor
from plait.features import FeatureCache
from plait.generate import Generated, generate
from plait.memory import told_memory
from plait.run import Run
from plait.types import IGNORED, Batch, Sample

BITS_PER_NAT = 1 / math.log(2)
FEWER = "Take fewer samples at a time (evaluate.batch_size in the run's configuration), or another --device."


class RunAnswerer:
    """Answers with a run's model, on the device that the model is on.

    `cached`: read the features that the run has in the cache (`encoders.cache`): for a whole split, because opening it takes longer
    than encoding a few samples. `say` is told what is added to it.
    """

    def __init__(
        self,
        run: Run,
        config: GenerateConfig | None = None,
        *,
        choices: Mapping[str, Sequence[str]] | None = None,
        begun: str = "",
        cached: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.run, self.config, self.choices, self.begun = run, config or run.config.generate, choices, begun
        self.device = run.model.lm.device
        self.preprocessor = Preprocessor(run.config.data, run.tokenizer, run.segments, run.inputs)
        self.features = FeatureCache(run.config, run.model, self.preprocessor, say=say) if cached else None

    @property
    def left_out(self) -> Mapping[str, LeftOut]:
        """By id the samples that could not be read so far, with the reason."""
        return self.preprocessor.left_out

    @property
    def cut(self) -> Collection[str]:
        """The ids of the samples whose text input was longer than is read."""
        return self.preprocessor.cut

    def batches(self, samples: Sequence[Sample], batch_size: int) -> Iterator[Batch]:
        """Batches in the order of the samples, of those that can be read; a batch of which none can is no batch."""
        if self.features is not None and len(samples) > batch_size:  # one batch alone is not worth a block
            self.features.fill_if_possible(samples)
        for start in range(0, len(samples), batch_size):
            prepared = self.preprocessor.prepare(samples[start : start + batch_size], Draw(training=False))
            self.preprocessor.note(prepared)
            if prepared.batch is not None:
                yield prepared.batch.to(self.device)

    def batch(self, sample: Sample) -> Batch:
        """One sample alone, to be asked about; one that cannot be read is refused, whatever `data.on_error` says."""
        return self.preprocessor.batch([sample], training=False).to(self.device)

    def generate(self, batch: Batch) -> list[Generated]:
        """What the model says to each sample."""
        with told_memory(FEWER):
            return generate(
                self.run.model, self.run.tokenizer, batch, self.config, choices=self.choices, begun=self.begun
            )

    @torch.inference_mode()
    def token_losses(self, batch: Batch) -> list[dict[str, tuple[float, float]]]:
        """What the model loses on each sample's target: segment → (bits, tokens)."""
        with told_memory(FEWER):
            losses = (self.run.model.token_losses(batch) * BITS_PER_NAT).double().cpu()
        segments = batch.segments.cpu().masked_fill(batch.targets.cpu() == IGNORED, -1)
        found: list[dict[str, tuple[float, float]]] = [{} for _ in range(len(batch))]
        for number, name in enumerate(self.run.segments):
            here = segments == number
            bits, counts = losses.masked_fill(~here, 0).sum(dim=1).tolist(), here.sum(dim=1).tolist()
            for row, (total, count) in enumerate(zip(bits, counts, strict=True)):
                if count:
                    found[row][name] = (total, float(count))
        return found
