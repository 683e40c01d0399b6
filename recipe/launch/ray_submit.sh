#!/usr/bin/env bash
# Runs a stage as a job of an existing Ray cluster, and follows its log. The same command again resumes the run.
#   recipe/launch/ray_submit.sh [--no-wait] STAGE [KEY=VALUE ...]
#   recipe/launch/ray_submit.sh --stop | --status | --logs  JOB
#   RAY_ADDRESS    the cluster's dashboard, http://HEAD:8265; RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH where it wants one
#   OUTPUTS        folder for runs, on a file system that all nodes see under this name
#   MODEL_PATH, TRAIN_FILES, VAL_FILES   as for run_stage*.sh, as the nodes see them; PROFILE (default gpu)
#   CLUSTER_PYTHON the nodes' Python with requirements/gpu.lock installed (default python)
#   DRY_RUN=1      print the command and the package's files, and submit nothing
# Our code travels with the job; what it imports must be installed on every node (recipe/launch/setup.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${RAY_ADDRESS:?set RAY_ADDRESS to the dashboard, http://HEAD:8265}"
ray=(ray)
for venv in .venv .venv-gpu; do
    [ ! -x $venv/bin/ray ] || ray=("$venv/bin/ray")
done

case ${1:-} in
--stop | --status) exec "${ray[@]}" job "${1#--}" "${2:?which job?}" ;;
--logs) exec "${ray[@]}" job logs --follow "${2:?which job?}" ;;
esac
wait=()
if [ "${1:-}" = --no-wait ]; then
    wait=(--no-wait)
    shift
fi
stage=${1:?which stage?}
shift
: "${OUTPUTS:?set OUTPUTS to a folder that all nodes see: a job keeps nothing else}"
: "${MODEL_PATH:?set MODEL_PATH to a complete Qwen2.5-Omni folder, as the nodes see it}"
: "${TRAIN_FILES:?set TRAIN_FILES to parquet files, separated by commas}"
: "${VAL_FILES:?set VAL_FILES to parquet files, separated by commas}"
for path in "$OUTPUTS" "$MODEL_PATH" "${TRAIN_FILES%%,*}" "${VAL_FILES%%,*}"; do
    case $path in
    /*) ;;
    *)
        echo "$path: a job starts in a folder of its own, so paths must be absolute" >&2
        exit 2
        ;;
    esac
done

package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT
# Code and configuration alone: no data, no outputs, no environment can slip into the upload.
mkdir "$package/recipe"
cp -r avatar_verl data_prep "$package"
cp -r recipe/config "$package/recipe"
find "$package" -name __pycache__ -prune -exec rm -rf {} +

command=("${CLUSTER_PYTHON:-python}" -m avatar_verl.main "$stage" "profile=${PROFILE:-gpu}"
    "actor_rollout_ref.model.path=$MODEL_PATH" "run.train_files=[$TRAIN_FILES]" "run.val_files=[$VAL_FILES]"
    "run.outputs=$OUTPUTS" "$@")
submission=avatar-$stage-$(date +%Y%m%d-%H%M%S)-$$
if [ "${DRY_RUN:-0}" = 1 ]; then
    (cd "$package" && find . -type f | sort)
    echo "job $submission at $RAY_ADDRESS: ${command[*]@Q}"
    exit 0
fi
echo "job $submission; stop it with: RAY_ADDRESS=$RAY_ADDRESS $0 --stop $submission"
# The entry point is a line for a shell on the head node: each word is quoted for it.
"${ray[@]}" job submit "${wait[@]}" --submission-id "$submission" --working-dir "$package" -- "${command[@]}"
