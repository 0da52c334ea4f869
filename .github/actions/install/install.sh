#!/usr/bin/env bash
# Install the tool into an environment of its own: install.sh PYTHON FOLDER.
# The tool comes from the commit that this file is of, and the rest from the lock beside it, by hashes.
# Nothing is imported from the current folder (-I), which may be a checkout of somebody else's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../../.." && pwd)

"$1" -I -m venv "$2"
pip=("$2/bin/python" -I -m pip install --disable-pip-version-check --quiet)
"${pip[@]}" --require-hashes --only-binary :all: -r "$here/requirements.txt"
exec "${pip[@]}" --no-deps --no-index --no-build-isolation "$repository"
