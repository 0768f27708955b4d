#!/usr/bin/env bash
# Prints the cases of kubectl.json with what kubectl prints for object.json. Needs kubectl and jq, but no cluster:
#
#   cd crates/kube-selectors/tests/json_path && ./record.sh >new.json && mv new.json kubectl.json
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
jq -c '.[] | {format, template}' kubectl.json | while IFS= read -r case; do
  output=$(jq -r '(.format // "jsonpath") + "=" + .template' <<<"$case")
  # The object has the annotation already, so that nothing changes.
  if KUBECONFIG=/dev/null kubectl annotate --local --overwrite -f object.json recorded=true -o "$output" \
    >"$work/out" 2>"$work/error"; then
    jq -c --rawfile output "$work/out" '. + {output: $output} | with_entries(select(.value != null))' <<<"$case"
  else
    # Of an error of the evaluation, only the message: a dump of the object follows.
    jq -c --rawfile error "$work/error" '. + {error: $error
      | (capture("Error executing template: (?<message>.*?)\\. Printing more information"; "s").message
        // ltrimstr("error: ") | rtrimstr("\n"))} | with_entries(select(.value != null))' <<<"$case"
  fi
done | sed '1s/^/[\n/; $!s/$/,/; $s/$/\n]/'
