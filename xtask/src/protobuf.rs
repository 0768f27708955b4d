//! The protobuf messages of the built-in kinds, generated from Kubernetes' Go modules and committed.
//!
//! A module contains everything that a decoder needs: its `generated.proto` files define the messages on the wire, and the Go
//! structs next to them define the JSON of the same objects. Both are formatted by tools and use only a subset of their
//! languages, so they are parsed line by line. An unknown line is an error and is never skipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

/// The modules that contain the messages.
const MODULES: [&str; 4] =
    ["k8s.io/api", "k8s.io/apimachinery", "k8s.io/apiextensions-apiserver", "k8s.io/kube-aggregator"];
/// The version of the modules, for Kubernetes 1.37.
const VERSION: &str = "v0.37.2";

/// The generated file.
const FILE: &str = "crates/kube-builtin/data/messages.json";
/// The file that lists the kinds.
const KINDS: &str = "crates/kube-builtin/data/resources.json";

/// Kinds that are not in discovery: what requests and responses also contain, and what webhooks are asked.
const OTHERS: [(&str, &str); 15] = [
    ("admission.k8s.io/v1", "AdmissionReview"),
    ("admission.k8s.io/v1beta1", "AdmissionReview"),
    ("apidiscovery.k8s.io/v2", "APIGroupDiscoveryList"),
    ("apiextensions.k8s.io/v1", "ConversionReview"),
    ("meta.k8s.io/v1", "APIGroup"),
    ("meta.k8s.io/v1", "APIGroupList"),
    ("meta.k8s.io/v1", "APIResourceList"),
    ("meta.k8s.io/v1", "APIVersions"),
    ("meta.k8s.io/v1", "CreateOptions"),
    ("meta.k8s.io/v1", "DeleteOptions"),
    ("meta.k8s.io/v1", "ListMeta"),
    ("meta.k8s.io/v1", "PartialObjectMetadata"),
    ("meta.k8s.io/v1", "PatchOptions"),
    ("meta.k8s.io/v1", "Status"),
    ("meta.k8s.io/v1", "UpdateOptions"),
];

/// Messages whose JSON is not an object of their fields. The decoder handles them by these names.
const WELL_KNOWN: [(&str, &str); 10] = [
    ("k8s.io.apimachinery.pkg.api.resource.Quantity", "Quantity"),
    ("k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1", "Json"),
    ("k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime", "MicroTime"),
    ("k8s.io.apimachinery.pkg.apis.meta.v1.Time", "Time"),
    ("k8s.io.apimachinery.pkg.runtime.RawExtension", "Json"),
    ("k8s.io.apimachinery.pkg.util.intstr.IntOrString", "IntOrString"),
    ("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON", "Json"),
    ("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray", "SchemaOrArray"),
    ("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool", "SchemaOrBool"),
    (
        "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
        "SchemaOrStrings",
    ),
];

/// The command's arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail if the file differs from the modules
    #[arg(long)]
    check: bool,
    /// The folder of Go's module cache [default: the output of `go env GOMODCACHE`]
    #[arg(long)]
    modules: Option<PathBuf>,
}

/// A message of a `.proto` file.
#[derive(Default)]
struct Message {
    fields: Vec<ProtoField>,
}

struct ProtoField {
    number: u32,
    name: String,
    label: Label,
    /// A scalar, or the full name of a message.
    r#type: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Optional,
    Repeated,
    /// A map whose keys are strings; the field's type is that of the values.
    Map,
}

/// A field of a Go struct.
struct GoField {
    /// Its place in the struct, and so in the JSON.
    place: usize,
    name: String,
    pointer: bool,
    /// The type as it is written there.
    r#type: String,
    json: String,
}

/// The definitions in the modules.
#[derive(Default)]
struct Packages {
    /// The API group and version of a package's kinds, by the full name of the protobuf package.
    group_versions: BTreeMap<String, String>,
    /// The messages, by full name.
    messages: BTreeMap<String, Message>,
    /// The fields of the Go structs, by the full name of the struct's message and the field's number.
    structs: BTreeMap<String, BTreeMap<u32, GoField>>,
}

/// Writes the file, or checks it.
#[expect(clippy::print_stderr, reason = "tells the user why nothing was done")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let Some(folders) = modules(arguments.modules.as_deref()) else {
        eprintln!(
            "skipped: the Go modules {} {VERSION} are not here; `go mod download` brings them, and --modules names \
             another module cache",
            MODULES.join(", ")
        );
        return Ok(());
    };
    let path = root.join(FILE);
    let wanted = generate(&folders, &root.join(KINDS))?;
    if !arguments.check {
        return fs::write(&path, wanted).with_context(|| format!("writing {}", path.display()));
    }
    let found = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    if found != wanted {
        bail!("{FILE} differs from the Go modules {VERSION}; run `cargo xtask protobuf`");
    }
    Ok(())
}

/// Returns the folders of the modules. `None` if one is missing.
fn modules(given: Option<&Path>) -> Option<Vec<PathBuf>> {
    let cache = match given {
        Some(cache) => cache.to_owned(),
        None => {
            let output = Command::new("go").args(["env", "GOMODCACHE"]).output().ok()?;
            PathBuf::from(String::from_utf8(output.stdout).ok()?.trim())
        }
    };
    let folders = MODULES.iter().map(|module| cache.join(format!("{module}@{VERSION}")));
    folders.map(|folder| folder.is_dir().then_some(folder)).collect()
}

fn generate(modules: &[PathBuf], kinds: &Path) -> Result<String> {
    let mut packages = Packages::default();
    for module in modules {
        packages.read(module)?;
    }
    let roots = roots(kinds)?;
    let mut messages = BTreeMap::<String, BTreeMap<String, Vec<String>>>::new();
    let mut todo = Vec::new();
    for (group_version, kind) in &roots {
        let package = packages.group_versions.iter().find(|(_, it)| *it == group_version);
        let Some((package, _)) = package else { bail!("no package has the kinds of {group_version}") };
        todo.push(format!("{package}.{kind}"));
    }
    let mut seen: BTreeSet<String> = todo.iter().cloned().collect();
    while let Some(name) = todo.pop() {
        let (group_version, kind) = packages.place(&name)?;
        let rows = packages.rows(&name).with_context(|| format!("reading message {name}"))?;
        let texts = rows.iter().map(Row::to_string).collect();
        messages.entry(group_version.to_owned()).or_default().insert(kind.to_owned(), texts);
        let next = rows.into_iter().filter_map(|row| row.message);
        todo.extend(next.filter(|message| seen.insert(message.clone())));
    }
    let mut text = String::from("{\n");
    for (group_version, messages) in &messages {
        // A line for each message, because they are parsed one by one.
        let messages = messages.iter().map(|(name, rows)| format!("{name:?}: [{}]", rows.join(", ")));
        let end = if text.len() > 2 { ",\n" } else { "" };
        text += &format!("{end}{group_version:?}: {{\n{}\n}}", messages.collect::<Vec<_>>().join(",\n"));
    }
    Ok(text + "\n}\n")
}

/// Returns the kinds that clients and servers exchange, as API version and kind.
fn roots(kinds: &Path) -> Result<BTreeSet<(String, String)>> {
    #[derive(Deserialize)]
    struct Group {
        group: String,
        versions: Vec<Version>,
    }
    #[derive(Deserialize)]
    struct Version {
        version: String,
        resources: Vec<Resource>,
    }
    #[derive(Deserialize)]
    struct Resource {
        kind: String,
        subresources: Vec<Subresource>,
    }
    #[derive(Deserialize)]
    struct Subresource {
        group: String,
        version: String,
        kind: String,
    }
    let text = fs::read_to_string(kinds).with_context(|| format!("reading {}", kinds.display()))?;
    let groups: Vec<Group> =
        serde_json::from_str(&text).with_context(|| format!("parsing {}", kinds.display()))?;
    let mut roots: BTreeSet<_> = OTHERS.map(|(version, kind)| (version.to_owned(), kind.to_owned())).into();
    for Group { group, versions } in &groups {
        for Version { version, resources } in versions {
            for resource in resources {
                let here = group_version(group, version);
                roots.insert((here.clone(), resource.kind.clone()));
                for it in &resource.subresources {
                    let there = match it.version.as_str() {
                        "" => here.clone(),
                        _ => group_version(&it.group, &it.version),
                    };
                    roots.insert((there, it.kind.clone()));
                }
            }
        }
    }
    Ok(roots)
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A field in the generated file: its number, Go name, type, and `json` tag. The fields of a message are in Go's order.
struct Row {
    place: usize,
    number: u32,
    name: String,
    r#type: String,
    json: String,
    /// The full name of the field's message, which the file must contain, too.
    message: Option<String>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {:?}, {:?}, {:?}]", self.number, self.name, self.r#type, self.json)
    }
}

impl Packages {
    /// Reads all packages of a module that have a `generated.proto`.
    fn read(&mut self, folder: &Path) -> Result<()> {
        let context = || format!("reading {}", folder.display());
        if folder.join("generated.proto").is_file() {
            self.read_package(folder).with_context(context)?;
        }
        for entry in fs::read_dir(folder).with_context(context)? {
            let path = entry.with_context(context)?.path();
            if path.is_dir() {
                self.read(&path)?;
            }
        }
        Ok(())
    }

    fn read_package(&mut self, folder: &Path) -> Result<()> {
        let (package, messages) = proto(&fs::read_to_string(folder.join("generated.proto"))?)?;
        for (name, message) in messages {
            self.messages.insert(format!("{package}.{name}"), message);
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.ends_with(".go") || name.ends_with("_test.go") || name.starts_with("generated") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            for (name, fields) in structs(&text)? {
                self.structs.insert(format!("{package}.{name}"), fields);
            }
            let group = text.lines().find_map(|line| {
                line.trim().trim_start_matches("const ").strip_prefix("GroupName = \"")?.strip_suffix('"')
            });
            if let Some(group) = group {
                let version = package.rsplit('.').next().unwrap_or_default();
                self.group_versions.insert(package.clone(), group_version(group, version));
            }
        }
        Ok(())
    }

    /// Returns the API version and the kind of a message.
    fn place<'a>(&'a self, name: &'a str) -> Result<(&'a str, &'a str)> {
        let (package, kind) = name.rsplit_once('.').context("a full name has a package")?;
        let group_version =
            self.group_versions.get(package).with_context(|| format!("{package} has no GroupName"))?;
        Ok((group_version, kind))
    }

    fn rows(&self, name: &str) -> Result<Vec<Row>> {
        let message = self.messages.get(name).with_context(|| format!("there is no message {name}"))?;
        let fields = self.structs.get(name).with_context(|| format!("there is no struct {name}"))?;
        let group_version = self.place(name)?.0;
        let row = |field: &ProtoField| {
            let go = fields.get(&field.number).with_context(|| format!("no Go field is {}", field.name))?;
            let shape = match field.label {
                Label::Repeated => "[]",
                Label::Map => "map[string]",
                Label::Optional if go.pointer => "*",
                Label::Optional => "",
            };
            let element = self.element(group_version, &field.r#type)?;
            let is_plain = self.is_plain(&field.r#type);
            let named = named(go, field.label, is_plain, package_name(name))
                .map_or_else(String::new, |it| format!("={it}"));
            Ok(Row {
                place: go.place,
                number: field.number,
                name: go.name.clone(),
                r#type: format!("{shape}{element}{named}"),
                json: go.json.clone(),
                message: is_plain.then(|| field.r#type.clone()),
            })
        };
        let mut rows = message.fields.iter().map(row).collect::<Result<Vec<_>>>()?;
        rows.sort_by_key(|row| row.place);
        Ok(rows)
    }

    /// Whether a type is a message whose JSON is an object of its fields.
    fn is_plain(&self, name: &str) -> bool {
        self.structs.contains_key(name) && !WELL_KNOWN.iter().any(|(it, _)| *it == name)
    }

    /// Returns a type's name in the file, as used in messages of a group version.
    fn element(&self, group_version: &str, name: &str) -> Result<String> {
        if let Some((_, known)) = WELL_KNOWN.iter().find(|(it, _)| *it == name) {
            return Ok((*known).to_owned());
        }
        let Some(message) = self.messages.get(name) else { return Ok(name.to_owned()) };
        if !self.structs.contains_key(name) {
            // A named Go slice, such as ExtraValue.
            return match message.fields.as_slice() {
                [ProtoField { number: 1, label: Label::Repeated, r#type, .. }] if r#type == "string" => {
                    Ok("Strings".to_owned())
                }
                _ => bail!("{name} is neither a struct nor a slice of strings in Go"),
            };
        }
        Ok(match self.place(name)? {
            (version, kind) if version == group_version => kind.to_owned(),
            (version, kind) => format!("{version}.{kind}"),
        })
    }
}

/// Returns the name that Go prints for the type of a field, if it has a name of its own: of the elements of a list or a literal
/// map, or of the whole. Structs are known by their messages.
fn named(field: &GoField, label: Label, is_struct: bool, package: &str) -> Option<String> {
    let whole = field.r#type.trim_start_matches('*');
    let (element, is_map) = match whole.strip_prefix("[]").or_else(|| whole.strip_prefix("map[string]")) {
        Some(element) => (element, false),
        None if whole.starts_with("map[") => return None,
        None => (whole, label == Label::Map),
    };
    if is_struct && !is_map {
        return None;
    }
    let (package, name) = match element.split_once('.') {
        // The alias of an import ends with the name of the package.
        Some((alias, name)) => {
            let version = |at: &usize| alias[at + 1..].starts_with(|it: char| it.is_ascii_digit());
            (alias.rfind('v').filter(version).map_or(alias, |at| &alias[at..]), name)
        }
        None if element.starts_with(char::is_uppercase) => (package, element),
        None => return None,
    };
    let is_well_known = WELL_KNOWN.iter().any(|(it, _)| it.rsplit('.').next() == Some(name));
    (!is_well_known).then(|| format!("{package}.{name}"))
}

/// Returns the name of a message's package.
fn package_name(message: &str) -> &str {
    message.rsplit('.').nth(1).unwrap_or_default()
}

/// Parses the package and the messages of a `.proto` file.
fn proto(text: &str) -> Result<(String, BTreeMap<String, Message>)> {
    let mut package = String::new();
    let mut messages = BTreeMap::new();
    let mut open: Option<(String, Message)> = None;
    let mut comment = false;
    for line in text.lines().map(str::trim) {
        comment |= line.starts_with("/*");
        if comment || line.is_empty() || line.starts_with("//") {
            comment &= !line.ends_with("*/");
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), &mut open) {
            (["syntax" | "import" | "option", ..], None) => {}
            (["package", name], None) => name.trim_end_matches(';').clone_into(&mut package),
            (["message", name, "{"], None) => open = Some(((*name).to_owned(), Message::default())),
            (["}"], Some(_)) => messages.extend(open.take()),
            ([label @ ("optional" | "repeated"), kind, name, "=", number], Some((_, message))) => {
                let label = if *label == "optional" { Label::Optional } else { Label::Repeated };
                message.fields.push(field(&package, label, kind, name, number)?);
            }
            (["map<string,", kind, name, "=", number], Some((_, message))) => {
                let kind = kind.trim_end_matches('>');
                message.fields.push(field(&package, Label::Map, kind, name, number)?);
            }
            _ => bail!("unknown line in generated.proto: {line}"),
        }
    }
    Ok((package, messages))
}

fn field(package: &str, label: Label, kind: &str, name: &str, number: &str) -> Result<ProtoField> {
    let number = number.trim_end_matches(';').parse().with_context(|| format!("the number of {name}"))?;
    let r#type = match kind.strip_prefix('.') {
        Some(full) => full.to_owned(),
        None if ["string", "bool", "int32", "int64", "double", "bytes"].contains(&kind) => kind.to_owned(),
        None if kind.starts_with(char::is_uppercase) => format!("{package}.{kind}"),
        None => bail!("{name} has the unknown type {kind}"),
    };
    Ok(ProtoField { number, name: name.to_owned(), label, r#type })
}

/// Parses the structs of a Go file, and returns their fields that are in protobuf, by number.
fn structs(text: &str) -> Result<BTreeMap<String, BTreeMap<u32, GoField>>> {
    let mut structs = BTreeMap::new();
    let mut open: Option<(String, BTreeMap<u32, GoField>)> = None;
    for line in text.lines().map(str::trim) {
        let declared = line.strip_prefix("type ");
        if let Some(name) = declared.and_then(|it| it.strip_suffix(" struct {")) {
            open = Some((name.to_owned(), BTreeMap::new()));
        } else if let Some(name) = declared.and_then(|it| it.strip_suffix(" struct{}")) {
            structs.insert(name.to_owned(), BTreeMap::new());
        } else if line == "}" {
            structs.extend(open.take());
        } else if let Some((name, fields)) = &mut open
            && !line.starts_with("//")
            && let Some((declared, tags)) = line.split_once('`')
            && let Some(protobuf) = tag(tags, "protobuf")
            && protobuf != "-"
        {
            let number = protobuf.split(',').nth(1).and_then(|number| number.parse().ok());
            let number = number.with_context(|| format!("a field of {name} has no number: {line}"))?;
            let json = tag(tags, "json").unwrap_or_default().to_owned();
            let mut words = declared.split_whitespace();
            let first = words.next().with_context(|| format!("a field of {name} has no name"))?;
            let r#type = words.next().unwrap_or(first).to_owned();
            let pointer = r#type.starts_with('*');
            // An embedded struct is named like its type.
            let name = first.rsplit('.').next().unwrap_or(first).trim_start_matches('*').to_owned();
            fields.insert(number, GoField { place: fields.len(), name, pointer, r#type, json });
        }
    }
    Ok(structs)
}

/// Returns the value of one of a Go field's tags.
fn tag<'a>(tags: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tags.split_once(&format!("{name}:\""))?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_messages_are_those_of_the_modules() {
        run(&Arguments { check: true, modules: None }).unwrap_or_else(|error| panic!("{error:#}"));
    }

    #[test]
    fn reads_messages() {
        let text = "package k8s.io.api.x.v1;\n// A comment\nmessage M {\n  optional .k8s.io.other.v1.O one = 1;\n\n  \
                    repeated string two = 2;\n  map<string, N> three = 3;\n}\nmessage N {\n}\n";
        let (package, messages) = proto(text).unwrap();
        assert_eq!(package, "k8s.io.api.x.v1");
        let types: Vec<_> = messages["M"].fields.iter().map(|it| it.r#type.as_str()).collect();
        assert_eq!(types, ["k8s.io.other.v1.O", "string", "k8s.io.api.x.v1.N"]);
        assert!(messages["M"].fields[2].label == Label::Map && messages["N"].fields.is_empty());
        assert!(proto("message M {\n  oneof a {\n").is_err());
    }

    #[test]
    fn reads_structs() {
        let text = "type M struct {\n\tmetav1.TypeMeta `json:\",inline\"`\n\t// Of `x`\n\tmetav1.ObjectMeta \
                    `json:\"metadata,omitempty\" protobuf:\"bytes,1,opt,name=metadata\"`\n\tTwo *int32 \
                    `json:\"two\" protobuf:\"varint,2,opt,name=two\"`\n}\n";
        let fields = &structs(text).unwrap()["M"];
        assert_eq!(fields.len(), 2);
        assert_eq!(
            (fields[&1].name.as_str(), fields[&1].json.as_str()),
            ("ObjectMeta", "metadata,omitempty")
        );
        assert!(fields[&2].pointer && !fields[&1].pointer);
    }
}
