#!/usr/bin/env bash
# Serves a judge for stage 3 until Ctrl-C: vLLM's OpenAI-compatible server with a vision language model.
#   JUDGE_MODEL   needed: model folder or hub name. On GPUs InternVL3-38B judges well (OpenGVLab/InternVL3-38B-hf;
#                 OpenGVLab/InternVL3-38B brings code of its own and needs --trust-remote-code)
#   JUDGE_NAME    name it is served under; default: the last part of JUDGE_MODEL
#   JUDGE_PORT    default 8001
#   JUDGE_HOST    default 127.0.0.1, which only this machine reaches; any other address needs VLLM_API_KEY
#   JUDGE_GPUS    GPUs that share the model; default 2, since 38B in bf16 are 77 GB of weights
#   PROFILE       gpu (default) or cpu
#   DRY_RUN=1     print the command, then stop
#   other arguments   options of `vllm serve`; they win over the ones given here
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

model=${JUDGE_MODEL:?set JUDGE_MODEL: the folder or hub name of a vision language model, e.g. OpenGVLab/InternVL3-38B-hf}
host=${JUDGE_HOST:-127.0.0.1}
port=${JUDGE_PORT:-8001}
name=${JUDGE_NAME:-$(basename "$model")}
export PROFILE=${PROFILE:-gpu}
# shellcheck source-path=SCRIPTDIR source=recipe/launch/venv.sh
source recipe/launch/venv.sh

if [[ $host != 127.* && $host != localhost && $host != ::1 && -z ${VLLM_API_KEY:-} ]]; then
    echo "JUDGE_HOST=$host can be reached by others: set VLLM_API_KEY to a secret of your own, and give it to the run" \
        "by avatar.reward.judge.api_key_env=VLLM_API_KEY" >&2
    exit 2
fi

case $PROFILE in
gpu) options=(--tensor-parallel-size "${JUDGE_GPUS:-2}" --max-model-len 16384) ;;
cpu) options=(--dtype float32 --enforce-eager --max-model-len 4096 --max-num-seqs 16) ;;
*) echo "PROFILE must be gpu or cpu, not $PROFILE" >&2 && exit 2 ;;
esac
environment=(VLLM_NO_USAGE_STATS=1)
[ "$PROFILE" = gpu ] || environment+=(VLLM_TARGET_DEVICE=cpu "VLLM_CPU_KVCACHE_SPACE=${VLLM_CPU_KVCACHE_SPACE:-1}")

# Compact JSON: a model that is free to put white space between the scores can go on doing so up to its token limit.
# The server's own sampling: a model folder may ask for a repetition penalty, which would bend the scores.
command=(env "${environment[@]}" "$PWD/$venv/bin/vllm" serve "$model" --served-model-name "$name"
    --host "$host" --port "$port"
    --structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}'
    --generation-config vllm
    --limit-mm-per-prompt '{"image": 32, "video": 0, "audio": 0}'
    "${options[@]}" "$@")

[[ $host != *:* ]] || host="[$host]"
[ "$host" != 0.0.0.0 ] || host=$(hostname)
echo "# use it by: ./run_stage3.sh avatar.reward.judge.endpoint=http://$host:$port/v1 avatar.reward.judge.model=$name"
if [ "${DRY_RUN:-0}" != 0 ]; then
    printf '%q ' "${command[@]}"
    echo
    exit 0
fi
bash recipe/launch/setup.sh
exec "${command[@]}"
