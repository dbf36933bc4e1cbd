# Sourced by scripts/train and scripts/test: makes .venv when it is missing or a lock file has changed.
# Needs Python 3.11 to 3.13, for which TensorFlow has wheels, and a Python package registry, nothing else.
# THAW_GPU=1 installs CUDA's libraries too (3 GB), without which TensorFlow does not see an NVIDIA GPU.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
stamp="$root/.venv/.installed.lock"
gpu_stamp="$root/.venv/.installed-gpu.lock"

suits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

install() { # a lock file, its stamp, and more of pip's arguments
    "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$1" "${@:3}"
    cp "$1" "$2"
}

if ! cmp -s "$root/requirements.lock" "$stamp"; then
    python=""
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        if suits "$candidate"; then
            python="$candidate"
            break
        fi
        if [ "$candidate" = "${PYTHON:-}" ]; then
            echo "PYTHON=$PYTHON is not Python 3.11, 3.12 or 3.13, for which TensorFlow has wheels" >&2
            exit 1
        fi
    done
    if [ -z "$python" ]; then
        echo "thaw needs Python 3.11, 3.12 or 3.13, for which TensorFlow has wheels; none was found. Install one, or name it: PYTHON=/path/to/python3.12 $0" >&2
        exit 1
    fi
    echo "installing into .venv (once, a few minutes)" >&2
    # One installer at a time: two commands started together must not write the same .venv.
    exec 9>"$root/.venv.lock"
    command -v flock >/dev/null && flock 9
    if ! cmp -s "$root/requirements.lock" "$stamp"; then
        "$python" -m venv "$root/.venv"
        install "$root/requirements.lock" "$stamp"
    fi
    exec 9>&-
fi
if [ "${THAW_GPU:-0}" != 0 ] && ! cmp -s "$root/requirements-gpu.lock" "$gpu_stamp"; then
    echo "installing CUDA's libraries into .venv (once, 3 GB)" >&2
    exec 9>"$root/.venv.lock"
    command -v flock >/dev/null && flock 9
    install "$root/requirements-gpu.lock" "$gpu_stamp" --no-deps
    exec 9>&-
fi
python="$root/.venv/bin/python"
