#!/usr/bin/env bash
# One stage from a bare clone: set-up, data, cold start, training. Called by run_*.sh with the stage's name.
#   TRAIN_FILES, VAL_FILES   your data (files separated by commas): the GPU profile; a cold start needs no VAL_FILES.
#                            Without them: the toy world
#   MODEL_PATH               a complete Qwen2.5-Omni folder, or the name of a stage that has finished here. Without it:
#                            the stage before; cold starts and stage 1 on your data need it
#   PROFILE                  with your data: gpu (default), or another of recipe/config/profile, e.g. gpu_1x8_separated
#   DRY_RUN=1                print the resolved configuration and the command, then stop
#   other arguments          Hydra overrides, KEY=VALUE
set -euo pipefail
stage=${1:?which stage?}
shift
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

toy=data/toy style=think before=cold_start
case $stage in
stage2) before=stage1 ;;
stage3) before=stage2 ;;
fs_grpo*) toy=data/toy_adaptive style=adaptive before=fs_grpo_cold_start ;;
esac

# Folder of the model that a stage's newest run has trained; a folder is itself.
model_of() {
    if [[ $1 == */* ]] || [[ -d $1 && ! -d outputs/$1 ]]; then
        echo "$1"
    elif [ -f "outputs/$1/latest/finished.json" ]; then
        echo "$(cd "outputs/$1/latest" && pwd -P)/model"
    else
        local script=${1/fs_grpo_cold_start/fs_grpo}
        echo "$stage starts from $1's model, and outputs/$1 has none yet: run" \
            "./run_${script/cold_start/stage0}.sh first" >&2
        return 2
    fi
}

overrides=() dry=${DRY_RUN:-0} own=
if [ -n "${TRAIN_FILES:-}${VAL_FILES:-}" ] || [[ ${MODEL_PATH:-} == */* ]]; then
    own=1
    export PROFILE=${PROFILE:-gpu}
fi
# shellcheck source-path=SCRIPTDIR source=venv.sh
source recipe/launch/venv.sh
if [ -n "$own" ]; then
    : "${TRAIN_FILES:?set TRAIN_FILES too: parquet files, separated by commas}"
    [[ $before != *cold_start ]] || : "${MODEL_PATH:?set MODEL_PATH too: a complete Qwen2.5-Omni folder}"
    overrides+=("run.train_files=[$TRAIN_FILES]")
    if [[ $stage == *cold_start ]]; then
        overrides+=("cold_start_profile=$PROFILE")
        [ -z "${VAL_FILES:-}" ] || overrides+=("run.val_files=[$VAL_FILES]" "trainer.test_freq=200")
    else
        : "${VAL_FILES:?set VAL_FILES too: parquet files, separated by commas}"
        overrides+=("profile=$PROFILE" "run.val_files=[$VAL_FILES]")
    fi
    # A dry run of the GPU profile needs no GPU stack: any environment that can compose will do.
    if [ "$dry" != 0 ] && [ ! -x $venv/bin/python ]; then
        venv=.venv
        [ -x .venv/bin/python ] || PROFILE=cpu bash recipe/launch/setup.sh
    elif [ "$dry" = 0 ]; then
        bash recipe/launch/setup.sh
    fi
else
    bash recipe/launch/setup.sh
    if [ "$dry" != 0 ] && [ -z "${MODEL_PATH:-}" ] && [ ! -f "outputs/$before/latest/finished.json" ]; then
        MODEL_PATH=$PWD/$toy/model # nothing is trained by a dry run: any model will do
    fi
    [ -f $toy/manifest.json ] || $venv/bin/python -m data_prep toy --out $toy --seed 0 --style $style
    if [[ $stage == *cold_start ]]; then
        MODEL_PATH=${MODEL_PATH:-$PWD/$toy/model}
        overrides+=("run.train_files=$PWD/$toy/cold_start.parquet")
    else
        if [[ $before == *cold_start && ! -f outputs/$before/latest/finished.json && -z ${MODEL_PATH:-} ]]; then
            $venv/bin/python -m avatar_verl.main $before \
                "run.train_files=$PWD/$toy/cold_start.parquet" "model.path=$PWD/$toy/model"
        fi
        [ "$stage" != stage3 ] || overrides+=("+data.where.family=[source]") # where a sound comes from
        overrides+=("run.train_files=$PWD/$toy/train.parquet" "run.val_files=$PWD/$toy/val.parquet")
    fi
fi
key=actor_rollout_ref.model.path
[[ $stage != *cold_start ]] || key=model.path
model=$(model_of "${MODEL_PATH:-$before}")
exec $venv/bin/python -m avatar_verl.main "$stage" "$key=$model" "${overrides[@]}" "$@"
