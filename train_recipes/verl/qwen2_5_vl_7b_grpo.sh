#!/bin/sh
# GRPO of Qwen2.5-VL-7B with verl 0.9.1, on single answers: the reward of a click is the IoU that it gains.
#
# Not run at this size. A test checks that verl's own configuration has every setting below.
#
# Prerequisites, in the root folder of the checkout:
#   an environment with verl, vLLM and this project, on 8 GPUs with 80 GB
#   the merged model of the recipe qwen2_5_vl_7b_lora in out/qwen2_5_vl_7b_lora/merged
#   out/verl, by hlmat export --from RUN --format verl --out out/verl, with the recipe's flags
#   reward.py, as in docs/reinforcement_learning.md
# Run:
#   sh train_recipes/verl/qwen2_5_vl_7b_grpo.sh
set -e
exec python3 -m verl.trainer.main_ppo \
    algorithm.adv_estimator=grpo \
    algorithm.use_kl_in_reward=False \
    data.train_files=out/verl/data/train-00000-of-00001.parquet \
    data.val_files=out/verl/data/train-00000-of-00001.parquet \
    data.image_key=images \
    data.train_batch_size=256 \
    data.max_prompt_length=1024 \
    data.max_response_length=64 \
    data.filter_overlong_prompts=True \
    data.truncation=error \
    actor_rollout_ref.model.path=out/qwen2_5_vl_7b_lora/merged \
    actor_rollout_ref.model.use_remove_padding=True \
    actor_rollout_ref.model.enable_gradient_checkpointing=True \
    actor_rollout_ref.actor.optim.lr=1e-6 \
    actor_rollout_ref.actor.ppo_mini_batch_size=128 \
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4 \
    actor_rollout_ref.actor.clip_ratio=0.2 \
    actor_rollout_ref.actor.use_kl_loss=True \
    actor_rollout_ref.actor.kl_loss_coef=0.02 \
    actor_rollout_ref.actor.kl_loss_type=low_var_kl \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.n=8 \
    actor_rollout_ref.rollout.temperature=1.0 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=2 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.6 \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8 \
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8 \
    reward.custom_reward_function.path=reward.py \
    reward.custom_reward_function.name=compute_score \
    trainer.n_gpus_per_node=8 \
    trainer.nnodes=1 \
    trainer.total_epochs=1 \
    trainer.save_freq=20 \
    trainer.test_freq=-1 \
    trainer.val_before_train=False \
    trainer.logger='["console"]' \
    trainer.project_name=hlmat \
    trainer.experiment_name=qwen2_5_vl_7b_grpo \
    trainer.default_local_dir=out/qwen2_5_vl_7b_verl \
    "$@"
