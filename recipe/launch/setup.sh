#!/usr/bin/env bash
# Makes .venv (PROFILE=cpu, the default) or .venv-gpu (any other) with pinned dependencies, once; PYTHON: interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source-path=SCRIPTDIR source=venv.sh
source recipe/launch/venv.sh
profile=${PROFILE:-cpu}
profile=${profile%%_*} # gpu_2x8 needs what gpu needs
python=${PYTHON:-python3}
lock=requirements/$profile.lock
if [ ! -f "$lock" ]; then
    echo "PROFILE=$PROFILE: its name must begin with cpu or gpu" >&2
    exit 2
fi
stamp=$venv/.avatar-$profile
wanted=$(cat "$lock" pyproject.toml | sha256sum | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

"$python" - <<'EOF' || exit 1
import sys
if not (3, 10) <= sys.version_info[:2] < (3, 13):
    sys.exit(f"Python {sys.version.split()[0]} will not do: verl 0.9.1 needs 3.10 to 3.12. Set PYTHON to one.")
if sys.version_info[:2] == (3, 10):
    print("note: the CPU build of vLLM needs Python 3.11 or newer; 3.10 serves the GPU profile only")
EOF

echo "setting up $venv (profile $profile); the first time takes a few minutes"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
if [ "$profile" = cpu ]; then
    torch=$(grep -E '^torch==' "$lock")
    # PyPI's torch brings gigabytes of CUDA; "+cpu" is on PyTorch's own index, unless the user's has it too.
    "${pip[@]}" install -q "$torch" 2>/dev/null ||
        "${pip[@]}" install -q --extra-index-url https://download.pytorch.org/whl/cpu "$torch"
fi
# The lock names everything: nothing is left to resolve.
"${pip[@]}" install -q --no-deps -r <(grep -v '^flash-attn==' "$lock")
if flash=$(grep '^flash-attn==' "$lock"); then
    # Its build needs the torch beside it, so it comes after it and without isolation.
    "${pip[@]}" install -q --no-deps --no-build-isolation "$flash" || {
        echo "flash-attn did not build: it needs nvcc of CUDA 13 (and MAX_JOBS=4 where memory is short). To go without:" \
            "remove it from $lock, and run with actor_rollout_ref.model.use_remove_padding=false" \
            "actor_rollout_ref.model.override_config.attn_implementation=sdpa" >&2
        exit 1
    }
fi
"${pip[@]}" install -q --no-deps --no-build-isolation -e .
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
echo 'import avatar_verl.adapter.compat; avatar_verl.adapter.compat.install()' >"$site/avatar_verl_compat.pth"
echo "$wanted" >"$stamp"
