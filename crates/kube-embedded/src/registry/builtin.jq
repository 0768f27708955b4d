# Trims aggregated discovery to what the registry holds. The input is a kube-apiserver's answers at /api and /apis:
#
#   accept='Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
#   for path in /api /apis; do curl -fsk -H "$accept" -H "Authorization: Bearer $TOKEN" "$SERVER$path"; done |
#     jq -c -s -f builtin.jq >builtin.json
[.[].items[] | {
  group: (.metadata.name // ""),
  versions: [.versions[] | {
    version,
    resources: [.resources[]? | {
      plural: .resource,
      singular: .singularResource,
      kind: .responseKind.kind,
      namespaced: (.scope == "Namespaced"),
      verbs,
      shortNames: (.shortNames // []),
      categories: (.categories // []),
      subresources: [.subresources[]? | {
        name: .subresource,
        group: .responseKind.group,
        version: .responseKind.version,
        kind: .responseKind.kind,
        verbs
      }]
    }]
  }]
}]
