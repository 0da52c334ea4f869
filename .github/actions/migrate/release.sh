#!/usr/bin/env bash
# One phase of a release: release.sh prepare | migrate | status. What it does is in the environment.
# A runner that cancels a job signals this process alone: at the end it becomes the tool itself.
set -euo pipefail

hoox=$FOLDER/environment/bin/hoox
ledger=("--database=$DATABASE" --remote)
if [ -n "$ENVIRONMENT" ]; then ledger+=("--env=$ENVIRONMENT"); fi

if [ "$1" = status ]; then
  {
    printf '\nThe history, read again:\n\n~~~~~~~~~~text\n'
    "$hoox" db migrate status "${ledger[@]}" 2>&1 || true
    printf '~~~~~~~~~~\n'
  } >>"$GITHUB_STEP_SUMMARY"
  exit
fi

words=(db release "--receipt=$FOLDER/receipt.json" "--summary=$FOLDER/summary.md")
if [ "$ALLOW_DATA_LOSS" = true ]; then words+=(--allow-data-loss); fi
while IFS= read -r query; do
  if [ -n "$query" ]; then words+=("--smoke=$query"); fi
done <<<"$SMOKE"

if [ "$1" = migrate ]; then
  words+=("--prepared=$FOLDER/receipt.json")
elif [ "$MODE" = apply ]; then
  words+=(--prepare)
else
  words=(--dry "${words[@]}")
  if [ -z "$CLOUDFLARE_API_TOKEN" ]; then
    said="There is no token here, so the migrations are rehearsed on an empty ledger instead of a copy of the real one."
    echo "::warning::$said"
    printf '%s\n\n' "$said" | tee -a "$FOLDER/summary.md" >>"$GITHUB_STEP_SUMMARY"
    : >"$FOLDER/empty.sqlite"
    ledger=("--path=$FOLDER/empty.sqlite" "--database=$DATABASE")
    if [ -n "$ENVIRONMENT" ]; then ledger+=("--env=$ENVIRONMENT"); fi
  fi
fi
if [ "$BACKUP" = true ]; then
  words+=("--artifact=$ARTIFACT" "--backups=$FOLDER/backups")
  while read -r recipient; do
    if [ -n "$recipient" ]; then words+=("--encrypt-to=$recipient"); fi
  done <<<"$RECIPIENTS"
else
  words+=(--no-backup)
fi
exec "$hoox" "${words[@]}" "${ledger[@]}"
