"""GRPO over whole rollouts with TRL: its trainer, with rollouts of several turns and images.

TRL 1.16 has two ways to roll out several turns. `environment_factory` continues one conversation,
to which tools add images; `rollout_func` returns one prompt and one completion for each rollout,
and takes images from the data set alone. Here each turn is a question of its own about the image of
its state, as models are trained and evaluated. So `RolloutTrainer` replaces the step that makes a
batch (`_generate_and_score_completions`), and leaves to TRL what the batch is used for: the loss
with its clipped ratio and its divergence from the start model, the optimizer, checkpoints and logs.
That method is not part of TRL's public interface, which is why its version is pinned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from hlmat.transforms.policies.backends.checkpoint.loading import LoadedCheckpoint
from hlmat.transforms.reinforcement.options import GrpoOptions
from hlmat.transforms.reinforcement.rollouts import Round, round_figures
from hlmat.transforms.reinforcement.rows import rows_of

Noted = Callable[[int, dict[str, float]], object]
"""Takes the number of updates done and the figures of the last round."""


def trl_config(
    grpo: GrpoOptions, *, output_dir: Path, max_new_tokens: int, seed: int, use_cpu: bool
) -> GRPOConfig:
    """Return TRL's settings for a training.

    Args:
        grpo: the settings of the training.
        output_dir: where checkpoints go.
        max_new_tokens: of an answer.
        seed: of everything random in TRL.
        use_cpu: train on the CPU even where there is a GPU.

    Raises:
        ValueError: TRL refuses the settings.
    """
    steps_per_round = grpo.updates * grpo.parts
    return GRPOConfig(
        output_dir=str(output_dir),
        per_device_train_batch_size=grpo.rollouts // steps_per_round,
        steps_per_generation=steps_per_round,
        gradient_accumulation_steps=grpo.parts,
        num_generations=grpo.group,
        max_steps=grpo.rounds * grpo.updates,
        max_completion_length=max_new_tokens,
        temperature=grpo.temperature,
        beta=grpo.kl,
        epsilon=grpo.clip,
        loss_type="dapo",
        learning_rate=grpo.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=grpo.warmup * grpo.updates,
        weight_decay=0.0,
        max_grad_norm=grpo.max_grad_norm,
        optim="adamw_torch",
        bf16=grpo.dtype == "bfloat16",
        use_cpu=use_cpu,
        gradient_checkpointing=grpo.dtype == "bfloat16",
        logging_steps=grpo.updates,
        logging_first_step=False,
        save_strategy="steps",
        save_steps=grpo.save_every * grpo.updates,
        save_total_limit=2,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        # The rows of the data set only stand for rollouts, so none need be skipped.
        ignore_data_skip=True,
        seed=seed,
        disable_tqdm=True,
    )


def build_trainer(
    roll_out: Callable[[int], Round],
    *,
    checkpoint: LoadedCheckpoint,
    grpo: GrpoOptions,
    output_dir: Path,
    max_new_tokens: int,
    seed: int,
    noted: Noted,
    made: Callable[[int, Round], object],
) -> RolloutTrainer:
    """Return a trainer for a loaded checkpoint, which it changes.

    Args:
        roll_out: makes a round by its number, with the checkpoint's model.
        checkpoint: the start model; its folder is read again for the divergence from it.
        grpo: the settings of the training.
        output_dir: where checkpoints go.
        max_new_tokens: of an answer.
        seed: of everything random in TRL.
        noted: receives the figures of each round.
        made: receives each round with its number.
    """
    checkpoint.model.requires_grad_(True)
    peft_config = None
    if grpo.lora_rank is not None:
        from peft import LoraConfig

        rank = grpo.lora_rank
        peft_config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    return RolloutTrainer(
        roll_out,
        grpo=grpo,
        noted=noted,
        made=made,
        model=checkpoint.model,
        args=trl_config(
            grpo,
            output_dir=output_dir,
            max_new_tokens=max_new_tokens,
            seed=seed,
            use_cpu=checkpoint.model.device.type == "cpu",
        ),
        processing_class=checkpoint.processor,
        peft_config=peft_config,
    )


class RolloutTrainer(GRPOTrainer):
    """TRL's GRPO on the turns of whole rollouts.

    Args:
        roll_out: makes a round by its number.
        grpo: the settings of the training.
        noted: receives the figures of each round.
        made: receives each round with its number.
        others: arguments of `GRPOTrainer`: `model`, `args`, `processing_class`, `peft_config`.
    """

    def __init__(
        self,
        roll_out: Callable[[int], Round],
        *,
        grpo: GrpoOptions,
        noted: Noted,
        made: Callable[[int, Round], object],
        **others: Any,
    ) -> None:
        rows = [{"prompt": "", "row": row} for row in range(grpo.targets)]
        super().__init__(reward_funcs=_no_reward, train_dataset=Dataset.from_list(rows), **others)
        self._pad_id = others["processing_class"].tokenizer.pad_token_id
        self._roll_out = roll_out
        self._grpo = grpo
        self._noted = noted
        self._made = made
        self._figures: dict[str, float] = {}
        self._began_s = time.perf_counter()

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """Roll out a round, and return the rows of its turns."""
        number = self.state.global_step // self._grpo.updates
        # TRL shuffles the rows: after a resumed training as in one that was not interrupted.
        torch.manual_seed(self.args.seed * 1_000_003 + number)
        began_s = time.perf_counter()
        model: Any = self.model
        model.eval()
        made = self._roll_out(number)
        model.train()
        self._made(number, made)
        self._figures = {
            "round": number + 1,
            **round_figures(made),
            "rollout_seconds": time.perf_counter() - began_s,
        }
        multiple = self._grpo.updates * self._grpo.parts
        rows = rows_of(made.rollouts, pad_id=self._pad_id, multiple=multiple)
        rows = {
            k: v.to(self.accelerator.device) if k != "num_images" else v for k, v in rows.items()
        }
        return rows | self._known_log_probabilities(rows)

    def _known_log_probabilities(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Return the tokens' log-probabilities before the updates, and by the start model."""
        ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1)
        mask = torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1)

        def under(model: Any) -> Any:
            return self._get_per_token_logps_and_entropies(
                model,
                ids,
                mask,
                rows["completion_ids"].size(1),
                batch_size=max(1, len(ids) // (self._grpo.updates * self._grpo.parts)),
                pixel_values=rows["pixel_values"],
                image_grid_thw=rows["image_grid_thw"],
                num_images=rows["num_images"],
            )[0]

        found: dict[str, Any] = {}
        with torch.no_grad():
            if self._grpo.updates > 1:
                found["old_per_token_logps"] = under(self.model)
            if self.beta and self.ref_model is not None:
                found["ref_per_token_logps"] = under(self.ref_model)
            elif self.beta:
                with self.accelerator.unwrap_model(self.model).disable_adapter():
                    found["ref_per_token_logps"] = under(self.model)
        return found

    def save_weights(self, folder: Path) -> None:
        """Save the trained model's weights and configuration; an adapter is merged into its model.

        Args:
            folder: need not exist.
        """
        model = self.accelerator.unwrap_model(self.model)
        if hasattr(model, "merge_and_unload"):
            model = model.merge_and_unload()
        model.save_pretrained(folder)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Pass the round's figures on with those that TRL measured while it learned."""
        metrics = self._metrics["train"]
        learned = {name: _mean(metrics.get(name)) for name in ("kl", "entropy")}
        learned["clip_ratio"] = _mean(metrics.get("clip_ratio/region_mean"))
        super().log(logs, start_time)
        if "loss" not in logs or not self._figures:
            return
        now_s = time.perf_counter()
        measured = {n: float(logs[n]) for n in ("loss", "grad_norm", "learning_rate") if n in logs}
        figures = {**self._figures, **{n: v for n, v in learned.items() if v is not None}}
        self._noted(
            self.state.global_step, {**figures, **measured, "seconds": now_s - self._began_s}
        )
        self._began_s = now_s


def _no_reward(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
    """Stand where TRL wants a reward function; rollouts bring their rewards."""
    return [0.0] * len(completions)


def _mean(values: list[float] | None) -> float | None:
    return sum(values) / len(values) if values else None
