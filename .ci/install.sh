#!/bin/sh
# Install into a virtual environment and say how large it became and how long it took.
# usage: install.sh VENV EXTRAS
set -eu
venv=$1 extras=$2
began=$(date +%s)
[ -x "$venv/bin/python" ] || "$PYTHON" -m venv "$venv"
echo "installing flywheel$extras into $venv (a few minutes the first time) ..."
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --upgrade pip # an old resolver takes minutes
"$venv/bin/python" -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".$extras"
ended=$(date +%s)
echo "installed: $(du -sm "$venv" | cut -f1) MB in $((ended - began)) s"
