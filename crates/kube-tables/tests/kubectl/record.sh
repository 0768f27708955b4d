#!/usr/bin/env bash
# Prints the cases of columns.json or sort.json with what kubectl prints. Needs kubectl, jq, and a cluster in $KUBECONFIG
# for the definition in crd.yaml and its objects:
#
#   cd crates/kube-tables/tests/kubectl && for i in columns sort; do ./record.sh $i >new.json && mv new.json $i.json; done
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kubectl apply -f crd.yaml >&2
kubectl wait --for=condition=Established crd/things.recorded.example.com >&2

# Runs a command, and adds its output or its error to the case.
record() {
  local case=$1
  if "${@:2}" >"$work/out" 2>"$work/error"; then
    jq -c --rawfile output "$work/out" '. + {output: $output}' <<<"$case"
  else
    # Of an exit by klog, the line without its head and the object.
    jq -c --rawfile error "$work/error" '. + if $error | test("^F[0-9]") then
        {fatal: $error | split("\n")[0] | sub("^F.*?\\] "; "") | sub(" for &.* using "; " for ... using ")}
      else {error: $error | ltrimstr("error: ") | rtrimstr("\n")} end' <<<"$case"
  fi
}

columns() {
  # apply would drop nulls, and validation refuses them.
  kubectl delete --ignore-not-found -f object.json >&2
  kubectl create --validate=false -f object.json >&2
  jq -c '.[] | {columns, file} | with_entries(select(.value != null))' columns.json | while IFS= read -r case; do
    if output=$(jq -er .columns <<<"$case"); then
      record "$case" kubectl get things.recorded.example.com thing -o "custom-columns=$output"
    else
      jq -j .file <<<"$case" >"$work/file"
      record "$case" kubectl get things.recorded.example.com thing -o "custom-columns-file=$work/file"
    fi
  done
}

# The name of an object is its index, and a key that is missing is a field that is missing.
sort_by() {
  jq -c '.[] | {by, fields}' sort.json | while IFS= read -r case; do
    kubectl delete things.recorded.example.com --all >&2
    jq '{apiVersion: "v1", kind: "List", items: [.fields | to_entries[] | {
      apiVersion: "recorded.example.com/v1", kind: "Thing", metadata: {name: "thing-\(.key)"}} + .value]}' <<<"$case" |
      kubectl create --validate=false -f - >&2
    record "$case" kubectl get things.recorded.example.com -o jsonpath='{.items[*].metadata.name}' --sort-by "$(jq -r .by <<<"$case")"
  done
}

case $1 in
  columns) columns ;;
  sort) sort_by ;;
esac | sed '1s/^/[\n/; $!s/$/,/; $s/$/\n]/'
