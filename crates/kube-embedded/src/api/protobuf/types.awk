# Tells the fields of the Go types of built-in kinds, by their numbers in Protobuf. In the module folders of k8s.io/api
# and k8s.io/apimachinery of one Kubernetes version:
#
#   awk -f types.awk api/*/v[12]/types.go apimachinery/pkg/apis/meta/v1/{types,group_version}.go >types.txt
#
# A package is `= group/version`, a name for another type `a NAME TYPE`, a struct `m NAME`, and each of its fields
# `NUMBER JSON TYPE`: JSON is `-` where a struct's fields are those of its holder, and ends with `!` where the field is
# written even if it is empty.
function id(path,  parts, n) {
    n = split(path, parts, "/")
    if (parts[n] ~ /^v[0-9]/) return parts[n - 1] "/" parts[n]
    return parts[n]
}
FNR == 1 {
    split("", imports)
    n = split(FILENAME, parts, "/")
    print "= " parts[n - 2] "/" parts[n - 1]
}
/^\t[a-z0-9]* ?"[^"]+"$/ {
    path = $NF
    gsub(/"/, "", path)
    n = split(path, parts, "/")
    imports[NF == 2 ? $1 : parts[n]] = id(path)
}
/^type [A-Za-z]+ struct \{/ { print "m " $2 }
/^type [A-Za-z]+ [a-z\[][A-Za-z0-9.\[\]]*$/ { print "a " $2 " " resolve($3) }
function resolve(type,  prefix, name) {
    if (!match(type, /[a-z0-9]+\.[A-Za-z]+$/)) return type
    prefix = substr(type, RSTART)
    name = prefix
    sub(/\..*/, "", prefix)
    sub(/.*\./, "", name)
    return substr(type, 1, RSTART - 1) imports[prefix] "." name
}
/protobuf:"/ && !/^[ \t]*\/\// {
    type = substr($2, 1, 1) == "`" ? $1 : $2
    match($0, /protobuf:"[a-z0-9]+,[0-9]+/)
    number = substr($0, RSTART, RLENGTH)
    sub(/.*,/, "", number)
    match($0, /json:"[^"]*"/)
    json = substr($0, RSTART + 6, RLENGTH - 7)
    required = json !~ /omitempty/ ? "!" : ""
    sub(/,.*/, "", json)
    print number " " (json == "" ? "-" : json required) " " resolve(type)
}
