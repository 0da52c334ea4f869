#!/usr/bin/env bash
# Keep one comment on a pull request, with the summary of its last rehearsal.
set -euo pipefail

name=$(printf '%s' "$DATABASE-$ENVIRONMENT" | tr -c 'A-Za-z0-9._-' -)
export MARKER="<!-- hoox-release ${name%-} -->"
{
  printf '%s\n' "$MARKER"
  head -c 60000 "$FOLDER/summary.md" # GitHub takes 65,536 characters.
} >"$FOLDER/comment.md"
comments=repos/$REPOSITORY/issues/$NUMBER/comments
ours='.[] | select(.user.type == "Bot" and (.body | startswith(env.MARKER))) | .id'
if ! found=$(gh api --paginate "$comments?per_page=100" --jq "$ours"); then
  echo "::warning::The comments of the pull request cannot be read: the job needs the permission pull-requests: write."
  exit 0
fi
if [ -n "$found" ]; then
  target=(--method PATCH "repos/$REPOSITORY/issues/comments/${found%%$'\n'*}")
else
  target=(--method POST "$comments")
fi
gh api "${target[@]}" -F "body=@$FOLDER/comment.md" --silent ||
  echo "::warning::The comment cannot be written: the job needs the permission pull-requests: write."
