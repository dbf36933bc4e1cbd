# Sourced by scripts/train and scripts/test: makes .venv when it is missing or the lock file has changed.
# Needs Python >= 3.11 and a Python package registry, nothing else.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
stamp="$root/.venv/.installed.lock"

if ! cmp -s "$root/requirements.lock" "$stamp"; then
    python=""
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python="$candidate"
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "thaw needs Python 3.11 or later; none was found. Install one, or name it: PYTHON=/path/to/python3.12 $0" >&2
        exit 1
    fi
    echo "installing into .venv (once, a few minutes)" >&2
    # One installer at a time: two commands started together must not write the same .venv.
    exec 9>"$root/.venv.lock"
    command -v flock >/dev/null && flock 9
    if ! cmp -s "$root/requirements.lock" "$stamp"; then
        "$python" -m venv "$root/.venv"
        "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$root/requirements.lock"
        cp "$root/requirements.lock" "$stamp"
    fi
    exec 9>&-
fi
python="$root/.venv/bin/python"
