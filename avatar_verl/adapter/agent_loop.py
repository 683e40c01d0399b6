"""The rollout of one prompt: decode once, generate the group, score each completion, put rows into TransferQueue."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import torch
import transfer_queue as tq
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from avatar_verl.adapter.hinting import with_hint
from avatar_verl.adapter.judge_frames import frame_source
from avatar_verl.adapter.node import avatar_config
from avatar_verl.adapter.replay_cycle import replay_row
from avatar_verl.adapter.rows import trajectory_row
from avatar_verl.adapter.second_answer import MAX_TOKENS, second_answer
from avatar_verl.media import FrameBudget, MediaError, make_decoder
from avatar_verl.omni.prompt import PromptBuilder, PromptInputs, split_media
from avatar_verl.replay.entry import Entry
from avatar_verl.rewards import RewardComposer
from avatar_verl.schema import RowError
from avatar_verl.types import RewardBreakdown, Sample

logger = logging.getLogger(__name__)

#: Sessions of replayed rows start here, so that they never meet the fresh sessions of a group they join.
REPLAY_SESSION = 1_000_000

#: vLLM's table of rotary positions is this many times the model's ``max_position_embeddings`` (0.24 to 0.28); a
#: position beyond it ends the engine. A second of video is 25 positions, so a clip of hours gets there.
_VLLM_POSITION_FACTOR = 4

#: The class under verl's Ray actor; an actor itself cannot be derived from.
_AgentLoopWorker: Any = AgentLoopWorkerTQ.__ray_metadata__.modified_class  # type: ignore[attr-defined]


class OmniAgentLoopWorker(_AgentLoopWorker):
    """verl's agent loop worker, with Qwen2.5-Omni's inputs and our rewards.

    verl runs the processor twice per trajectory and recomputes positions over the completion. Here a prompt is
    prepared once for its whole group, and positions of the completion are added by arithmetic.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = avatar_config(self.config)
        self._seed = config.seed
        self._builder = PromptBuilder(
            self.processor,
            self.model_config.hf_config,
            FrameBudget.from_config(config.media),
            make_decoder(config.media.cache),
        )
        self._strip_hints = config.hint.mode == "strip"
        self._trained: dict[str, tuple[PromptInputs, list[dict[str, Any]]]] = {}
        # Of their own: in asyncio's, the clips of replayed completions would be in front of those of fresh prompts.
        self._rebuilders = ThreadPoolExecutor(4, "rebuild")
        self._composer = RewardComposer(config.reward, frame_source(config.reward.judge))
        self._judge_endpoint = config.reward.judge.endpoint
        self._asks_twice = "answer_consistency" in config.reward.weights
        self._name = uuid.uuid4().hex
        self._total_steps = int(self.config.trainer.total_training_steps or 0)
        self._prompts: dict[str, PromptInputs] = {}
        self._reports: list[dict[str, Any]] = []
        self._rebuilt: list[Any] = []

    def take_reports(self) -> list[dict[str, Any]]:
        """What happened since the last call: one dict per completion (``kind: sample``) and per bad row.

        With a judge behind an endpoint also what it has cost this worker so far (``kind: judge_cost``).
        """
        reports, self._reports = self._reports, []
        cost = self._composer.judge_cost
        if cost is not None and self._judge_endpoint:
            reports.append({"kind": "judge_cost", "worker": self._name, "cost": asdict(cost)})
        return reports

    async def _run_prompt(
        self, prompt: dict[str, Any], sampling_params: dict[str, Any], trajectory: dict[str, Any], trace: bool = False
    ) -> None:
        uid = prompt["uid"]
        try:
            self._prompts[uid], self._trained[uid] = await asyncio.to_thread(self._prepare, prompt)
        except (MediaError, RowError) as error:
            await self._give_up(prompt, trajectory, error.reason, str(error))
            return
        except Exception:
            self._report_error()
            await self._give_up(prompt, trajectory, "internal_error", "see the log")
            return
        try:
            await super()._run_prompt(prompt, sampling_params, trajectory, trace)
        finally:
            del self._prompts[uid], self._trained[uid]

    def _report_error(self) -> None:
        """Our own bug, or a dead rollout server: verl would count it as a failed prompt and go on; the driver stops."""
        self._reports.append({"kind": "error", "detail": traceback.format_exc()})

    def _prepare(self, row: dict[str, Any]) -> tuple[PromptInputs, tuple[PromptInputs, list[dict[str, Any]]]]:
        """The prompt that generates and the one that is trained on, with its messages; a stripped hint parts them."""
        plain = row["raw_prompt"]
        if row.get("hint_trigger"):
            row["raw_prompt"] = with_hint(plain, row["extra_info"]["hint"])
        inputs = self._build(row["raw_prompt"], row)
        if row.get("hint_trigger") and self._strip_hints:
            return inputs, (self._builder.encode(plain, inputs.media), plain)
        return inputs, (inputs, row["raw_prompt"])

    def _build(self, messages: list[dict[str, Any]], row: dict[str, Any]) -> PromptInputs:
        inputs = self._builder.build(messages, row["media_root"], bool(row["use_audio_in_video"]))
        limit = self.rollout_config.prompt_length
        if len(inputs.input_ids) > limit:
            raise RowError("prompt_too_long", f"{len(inputs.input_ids)} tokens, data.max_prompt_length is {limit}")
        last = int(inputs.position_ids.max()) + self.rollout_config.response_length
        positions = _VLLM_POSITION_FACTOR * self.model_config.hf_config.text_config.max_position_embeddings
        if last >= positions:
            raise RowError("clip_too_long", f"rotary position {last}, the rollout has {positions} (25 for a second)")
        return inputs

    async def rebuild(self, drawn: list[tuple[int, Entry, str]], step: int) -> None:
        """Make rows of replayed completions, like fresh ones: decode the clips again, only generation is skipped.

        They wait here until :meth:`replay`, since verl takes whatever appears in TransferQueue for fresh.

        Args:
            drawn: place in the batch, entry, and the label of the group it joins.
            step: trainer step.
        """
        call = asyncio.get_running_loop().run_in_executor
        self._rebuilt = await asyncio.gather(
            *(call(self._rebuilders, self._rebuild, place, entry, label, step) for place, entry, label in drawn)
        )

    async def replay(self) -> tuple[list[Any], list[tuple[int, str]]]:
        """Put what :meth:`rebuild` has made into TransferQueue.

        Returns:
            ([(key, tag)], [(entry id, reason)]): rows that are there, entries that cannot be replayed any more.
        """
        results, self._rebuilt = self._rebuilt, []
        rows = [result for result in results if isinstance(result[0], str)]
        failures = [result for result in results if not isinstance(result[0], str)]
        if rows:
            await tq.async_kv_batch_put(
                keys=[key for key, _, _ in rows],
                fields=list_of_dict_to_tensordict([fields for _, fields, _ in rows]),
                tags=[tag for _, _, tag in rows],
                partition_id="train",
            )
        return [(key, tag) for key, _, tag in rows], failures

    def _rebuild(self, place: int, entry: Entry, label: str, step: int) -> Any:
        row = {**json.loads(entry.row), "raw_prompt": json.loads(entry.messages), "uid": label, "global_steps": step}
        row.update(index=place, session_id=REPLAY_SESSION + place, dummy_tensor=torch.zeros(1, dtype=torch.uint8))
        try:
            prompt = self._build(row["raw_prompt"], row)
        except (MediaError, RowError) as error:
            return entry.entry_id, error.reason
        if tuple(prompt.media.sources) != tuple((ref.kind, ref.path, ref.content_hash) for ref in entry.media):
            return entry.entry_id, "media_changed"
        extra_fields = {
            "reward_extra_info": {"score": entry.reward, **entry.reward_parts},
            "min_global_steps": entry.policy_version - 1,
            "max_global_steps": entry.policy_version - 1,
        }
        fields, tag = trajectory_row(
            prompt, entry.token_ids.tolist(), entry.behaviour_log_probs.tolist(), entry.reward, row, extra_fields
        )
        tag.update(replayed=True, prompt_id=entry.prompt_id)
        return f"{label}_{row['session_id']}_0", fields, tag

    async def _give_up(self, row: dict[str, Any], trajectory: dict[str, Any], reason: str, detail: str) -> None:
        """Nothing is generated for a bad row; the trainer draws another prompt and lists this one."""
        split = "val" if trajectory["validate"] else "train"
        self._reports.append(
            {
                "kind": "bad_row",
                "step": trajectory["step"],
                "split": split,
                "prompt_id": row["prompt_id"],
                "reason": reason,
                "detail": detail,
            }
        )
        await tq.async_kv_put(key=row["uid"], partition_id=split, tag={"status": "failure"})

    async def _run_agent_loop(
        self,
        sampling_params: dict[str, Any],
        trajectory: dict[str, Any],
        *,
        agent_name: str,
        trace: bool = True,
        **row: Any,
    ) -> None:
        prompt = self._prompts[row["uid"]]
        name, params = f"{row['uid']}-{row['session_id']}", self._sampling(sampling_params, trajectory, row)
        try:
            output = await self._generate(name, prompt, prompt.compact_ids, params)
            sample = self._sample(list(output.token_ids), output.log_probs, row)
            if self._asks_twice and not trajectory["validate"]:
                sample = await self._with_second_answer(name, prompt, sample, params, row)
            await self._store(prompt, output, sample, trajectory["validate"], row)
        except Exception:
            self._report_error()
            raise

    async def _generate(self, name: str, prompt: PromptInputs, ids: list[int], params: dict[str, Any]) -> Any:
        media = prompt.rollout_media
        return await self.llm_client.generate(
            request_id=name,
            prompt_ids=ids,
            sampling_params=params,
            image_data=media.get("images"),
            video_data=media.get("videos"),
            audio_data=media.get("audios"),
            mm_processor_kwargs=prompt.processor_kwargs,
        )

    async def _with_second_answer(
        self, name: str, prompt: PromptInputs, sample: Sample, params: dict[str, Any], row: dict[str, Any]
    ) -> Sample:
        greedy = {**params, "temperature": 0.0, "max_tokens": MAX_TOKENS}

        async def ask(messages: list[dict[str, Any]], begin: str) -> str:
            ids = self._builder.compact_ids(messages, begin)
            output = await self._generate(f"{name}-again", prompt, ids, greedy)
            return str(self.tokenizer.decode(list(output.token_ids), skip_special_tokens=True))

        return replace(sample, extra=await second_answer(sample, row["raw_prompt"], ask))

    def _sampling(
        self, sampling_params: dict[str, Any], trajectory: dict[str, Any], row: dict[str, Any]
    ) -> dict[str, Any]:
        """With a seed, what is sampled depends on seed, step, prompt and place in the group, not on timing."""
        params = {**sampling_params, "max_tokens": self.rollout_config.response_length}
        if self._seed is not None:
            name = f"{self._seed}/{trajectory['step']}/{row['prompt_id']}/{row['session_id']}"
            params["seed"] = zlib.crc32(name.encode())
        return params

    async def _store(
        self, prompt: PromptInputs, output: Any, sample: Sample, validate: bool, row: dict[str, Any]
    ) -> None:
        response_ids = list(output.token_ids)
        log_probs = list(output.log_probs or [0.0] * len(response_ids))
        breakdown = await self._composer.score_async(sample)
        trained, messages = self._trained[row["uid"]]
        extra_fields = {
            "reward_extra_info": reward_info(breakdown),
            "min_global_steps": output.extra_fields["min_global_steps"],
            "max_global_steps": output.extra_fields["max_global_steps"],
            **self._replay_fields(prompt, messages, row),
        }
        fields, tag = trajectory_row(trained, response_ids, log_probs, breakdown.total, row, extra_fields)
        tag["prompt_id"] = row["prompt_id"]
        split = "val" if validate else "train"
        self._report(split, prompt, sample, breakdown, row)
        await tq.async_kv_batch_put(
            keys=[f"{row['uid']}_{row['session_id']}_0"],
            fields=list_of_dict_to_tensordict([fields]),
            tags=[tag],
            partition_id=split,
        )

    def _replay_fields(
        self, prompt: PromptInputs, messages: list[dict[str, Any]], row: dict[str, Any]
    ) -> dict[str, Any]:
        """What replay must know beside the tokens: the messages that are trained on; media by reference, not pixels."""
        rate = {"video": prompt.media.videos[0].fps} if prompt.media.videos else {}
        return {
            "prompt_id": row["prompt_id"],
            "group": row["uid"],
            "hint_used": bool(row.get("hint_trigger")),
            "messages": json.dumps(messages),
            "media": [(kind, path, name, rate.get(kind, 0.0)) for kind, path, name in prompt.media.sources],
            "replay_row": replay_row(row),
        }

    def _sample(self, response_ids: list[int], log_probs: list[float] | None, row: dict[str, Any]) -> Sample:
        info = row["extra_info"]
        ended = bool(response_ids) and response_ids[-1] == self.tokenizer.eos_token_id
        text_ids = response_ids[:-1] if ended else response_ids
        return Sample(
            completion=self.tokenizer.decode(text_ids, skip_special_tokens=False),
            ground_truth=row["reward_model"]["ground_truth"],
            problem_type=info["problem_type"],
            prompt_id=row["prompt_id"],
            group=row["uid"],
            question=info["question"],
            options=tuple(info["options"] or ()),
            audio_cues=info["audio_cues"] or "",
            media=tuple(f"{row['media_root']}/{path}" for _, path in split_media(row["raw_prompt"])),
            num_tokens=len(response_ids),
            mean_log_prob=sum(log_probs or ()) / max(1, len(log_probs or ())),
            truncated=not ended,
            step=int(row["global_steps"]),
            total_steps=self._total_steps,
        )

    def _report(
        self, split: str, prompt: PromptInputs, sample: Sample, breakdown: RewardBreakdown, row: dict[str, Any]
    ) -> None:
        info = row["extra_info"]
        self._reports.append(
            {
                "kind": "sample",
                "split": split,
                "prompt_id": sample.prompt_id,
                "key": f"{row['uid']}_{row['session_id']}_0",
                "sample": sample,
                "breakdown": breakdown,
                "details": {
                    "split": split,
                    "session": int(row["session_id"]),
                    "family": info["family"],
                    "difficulty": info["difficulty"],
                    "modality": prompt.media.modality,
                    "hint": row.get("hint_trigger") or "",
                    "silent_clips": prompt.media.silent_clips,
                    "truncated_audios": prompt.media.truncated_audios,
                },
            }
        )


def reward_info(breakdown: RewardBreakdown) -> dict[str, float]:
    """Named reward parts as verl's validation reads them; ``acc`` is what it calls accuracy."""
    info = {"score": breakdown.total}
    info.update((name, part.value) for name, part in breakdown.parts.items() if part.present)
    if "accuracy" in info:
        info["acc"] = breakdown.parts["accuracy"].value
    return info
