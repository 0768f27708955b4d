# Cuts kubernetes' OpenAPI v3 documents down to what merging needs: see builtin.rs.
def name:
  sub("^#/components/schemas/"; "")
  | sub("^io\\.k8s\\.(api|apimachinery\\.pkg|apiextensions-apiserver\\.pkg|kube-aggregator\\.pkg)\\."; "");
def scalar:
  if .type == "integer" or .type == "number" then "number"
  elif .type == "boolean" then "boolean"
  elif .type == "string" and ((.format // "") | . == "" or . == "byte") then "string"
  else "scalar" end;
def target: ."$ref" // (.allOf // [{}])[0]."$ref";
def ref:
  (target | name) as $name
  | if $name == "api.resource.Quantity" or $name == "apis.meta.v1.Time" or $name == "apis.meta.v1.MicroTime" then "scalar"
    elif $name == "runtime.RawExtension" then "atomic"
    elif ."x-kubernetes-map-type" == "atomic" then {ref: $name, atomic: true}
    elif ."x-kubernetes-map-type" == "granular" then {ref: $name, atomic: false}
    else {ref: $name} end;
def patch:
  (if ."x-kubernetes-patch-strategy" then {patch: ."x-kubernetes-patch-strategy"} else {} end)
  + (if ."x-kubernetes-patch-merge-key" then {merge_key: ."x-kubernetes-patch-merge-key"} else {} end);
def atomic: if ."x-kubernetes-map-type" == "atomic" then {atomic: true} else {} end;
def merging:
  . as $field
  | if target then
      ref | if type == "object" then . + ($field | patch) + (if $field.default == {} then {embedded: true} else {} end) else . end
    elif .type == "array" then
      {list: (.items | merging)}
      + (if ."x-kubernetes-list-type" and (."x-kubernetes-list-type" != "atomic" or ."x-kubernetes-patch-strategy")
         then {list_type: ."x-kubernetes-list-type"} else {} end)
      + (if ."x-kubernetes-list-map-keys" then {keys: ."x-kubernetes-list-map-keys"} else {} end)
      + patch
    elif .properties then
      {fields: (.properties | map_values(merging))}
      + (([(.required // [])[] as $name | select($field.properties[$name].type == "array") | {($name): null}]
          + [.properties | to_entries[] | select(.value.default | . == "" or . == 0 or . == false) | {(.key): .value.default}])
         | add | if . then {zero: .} else {} end)
      + ([.properties | to_entries[] | select((.value.default | type) == "string" and .value.default != "") | {(.key): .value.default}]
         | add | if . then {defaults: .} else {} end)
      + atomic
    elif (.additionalProperties | type) == "object" then {map: (.additionalProperties | merging)} + atomic
    elif .type == "object" or .type == null then "any"
    else scalar end;
def refs: [.. | objects | .ref // empty | strings];
def closure($types): . as $names | ([$names[] | $types[.] // {} | refs[]] + $names | unique) as $more
  | if $more == $names then $names else $more | closure($types) end;
(map(.components.schemas) | add) as $schemas
| ($schemas | with_entries(select(.key | test("^io\\.k8s\\.")) | {key: (.key | name), value: (.value | merging)})) as $types
| [$schemas | to_entries[] | .key as $key | .value."x-kubernetes-group-version-kind"[]?
   | select((.kind | test("List$|Options$|^WatchEvent$|^Status$") | not))
   | {key: ((if .group == "" then .version else .group + "/" + .version end) + "/" + .kind), value: ($key | name)}] as $kinds
| ([$kinds[].value] | unique | closure($types)) as $used
| ($types | with_entries(select(.key as $key | $used | index($key)))) as $types
| "{\"kinds\":" + ($kinds | sort_by(.key) | from_entries | tojson) + ",\n\"types\":{\n"
  + ([$types | keys[] | tojson + ":" + ($types[.] | tojson)] | join(",\n")) + "\n}}"
