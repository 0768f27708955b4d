//! Checks the arrows between the modules of each crate, read from its imports: there are no circles, and kube-embedded keeps
//! to its floors.
//!
//! A module is a file. It has an arrow to each file whose items it names; re-exports are followed to the definition. Tests are
//! excluded. Calls of methods are not seen, because they need no import.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Item, ItemMod, UseTree};

/// A module's path from the root of its crate. The root's path is empty.
type ModulePath = Vec<String>;

/// The modules of a crate, according to its source.
#[derive(Default)]
struct Crate {
    /// The modules, by path.
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    /// The names that the module imports, and so may re-export, with the imported path of each.
    imports: BTreeMap<String, Vec<String>>,
    /// The paths that the module names. The first segment is `crate`, `self`, `super` or a name.
    paths: BTreeSet<Vec<String>>,
}

impl Crate {
    fn read(root: &Path) -> Self {
        let mut read = Self::default();
        read.file(root, Vec::new(), root.parent().expect("a file lies in a folder"));
        read
    }

    /// Reads a file whose submodules are in `folder`.
    fn file(&mut self, file: &Path, path: ModulePath, folder: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.items(parsed.items, file, path, folder);
    }

    fn items(&mut self, items: Vec<Item>, file: &Path, path: ModulePath, folder: &Path) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items {
            match item {
                Item::Mod(ItemMod { attrs, .. }) if is_test(&attrs) => {}
                Item::Mod(ItemMod { ident, content, .. }) => {
                    let below: ModulePath = path.iter().cloned().chain([ident.to_string()]).collect();
                    let inner = folder.join(ident.to_string());
                    match content {
                        Some((_, items)) => self.items(items, file, below, &inner),
                        None => {
                            let files = [folder.join(format!("{ident}.rs")), inner.join("mod.rs")];
                            let file = files.iter().find(|file| file.exists()).expect("a module has a file");
                            self.file(file, below, &inner);
                        }
                    }
                }
                Item::Use(item) if !is_test(&item.attrs) => imports(&item.tree, &mut Vec::new(), &mut module),
                item if is_test(attributes(&item)) => {}
                item => paths(item.to_token_stream(), &mut module.paths),
            }
        }
        self.modules.insert(path, module);
    }

    /// Returns the module that defines the item at a path, as seen from a module. `None` if another crate defines it.
    fn definition(&self, from: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => from.clone(),
            "super" => from.get(..from.len().checked_sub(1)?)?.to_vec(),
            name => {
                let below: ModulePath = from.iter().cloned().chain([name.to_owned()]).collect();
                if self.modules.contains_key(&below) {
                    below
                } else {
                    // The module imports this name, so the item is at the imported path.
                    let imported = self.modules[from].imports.get(name)?;
                    let whole: Vec<String> = imported.iter().chain(rest).cloned().collect();
                    return (depth > 0).then(|| self.definition(from, &whole, depth - 1))?;
                }
            }
        };
        while let Some((name, further)) = rest.split_first() {
            if name == "super" {
                at.pop()?;
                rest = further;
                continue;
            }
            let below: ModulePath = at.iter().cloned().chain([name.clone()]).collect();
            if self.modules.contains_key(&below) {
                at = below;
                rest = further;
                continue;
            }
            let exported = self.modules.get(&at)?.imports.get(name).filter(|_| depth > 0);
            return match exported {
                Some(imported) => {
                    let whole: Vec<String> = imported.iter().chain(further).cloned().collect();
                    self.definition(&at, &whole, depth - 1)
                }
                None => Some(at),
            };
        }
        Some(at)
    }

    /// Returns the arrows between files.
    fn arrows(&self) -> BTreeMap<&Path, BTreeSet<&Path>> {
        let mut arrows: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
        for (path, module) in &self.modules {
            let targets = arrows.entry(&module.file).or_default();
            let named = module.paths.iter().chain(module.imports.values());
            for target in named.filter_map(|named| self.definition(path, named, 8)) {
                let target = &*self.modules[&target].file;
                if target != module.file {
                    targets.insert(target);
                }
            }
        }
        arrows
    }
}

/// Whether an item exists only in tests, or for a fuzzer.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && {
            let text = attribute.meta.to_token_stream().to_string();
            !text.contains("not") && (text.contains("test") || text.contains("fuzzing"))
        }
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        _ => &[],
    }
}

fn imports(tree: &UseTree, prefix: &mut Vec<String>, module: &mut Module) {
    let mut import = |name: String, path: Vec<String>| {
        // The same name can be imported from several places: as a value, a type, or a macro.
        if let Some(other) = module.imports.insert(name, path.clone())
            && other != path
        {
            module.paths.insert(other);
        }
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            imports(&path.tree, prefix, module);
            prefix.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            import(prefix.last().cloned().unwrap_or_default(), prefix.clone());
        }
        UseTree::Name(name) => {
            import(name.ident.to_string(), [&prefix[..], &[name.ident.to_string()]].concat());
        }
        UseTree::Rename(rename) => {
            let path = match rename.ident == "self" {
                true => prefix.clone(),
                false => [&prefix[..], &[rename.ident.to_string()]].concat(),
            };
            let name = if rename.rename == "_" { path.join("::") } else { rename.rename.to_string() };
            import(name, path);
        }
        UseTree::Glob(_) => _ = module.paths.insert(prefix.clone()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| imports(tree, prefix, module)),
    }
}

/// Adds the paths in tokens, including those in macros.
fn paths(tokens: TokenStream, found: &mut BTreeSet<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    let mut end = |path: &mut Vec<String>| {
        if path.len() > 1 {
            found.insert(path.clone());
        }
        path.clear();
    };
    let mut groups = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    end(&mut path);
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            other => {
                end(&mut path);
                colons = 0;
                if let TokenTree::Group(group) = other {
                    groups.push(group.stream());
                }
            }
        }
    }
    end(&mut path);
    groups.into_iter().for_each(|group| paths(group, found));
}

/// Returns the arrows that are part of circles, or lie between two circles.
fn circles<'a>(arrows: &BTreeMap<&'a Path, BTreeSet<&'a Path>>) -> Vec<(&'a Path, &'a Path)> {
    let arrows = arrows.iter().flat_map(|(from, to)| to.iter().map(|to| (*from, *to)));
    let mut left: Vec<(&Path, &Path)> = arrows.collect();
    loop {
        let (from, to): (BTreeSet<_>, BTreeSet<_>) = left.iter().copied().unzip();
        let before = left.len();
        // A module without incoming or outgoing arrows is in no circle.
        left.retain(|(a, b)| to.contains(a) && from.contains(b));
        if left.len() == before {
            return left;
        }
    }
}

/// Returns the root files of the workspace's crates, by crate name.
fn crates() -> BTreeMap<String, PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = fs::read_dir(root.join("crates")).expect("there are crates");
    let folders = folders.map(|entry| entry.expect("it can be read").path());
    let folders = folders.chain(["bench", "e2e", "xtask"].map(|name| root.join(name)));
    let source = |folder: PathBuf| {
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file));
        let source = roots.into_iter().find(|file| file.exists())?;
        Some((folder.file_name()?.to_str()?.to_owned(), source))
    };
    folders.filter_map(source).collect()
}

#[test]
fn no_modules_are_in_a_circle() {
    let crates = crates();
    assert!(crates.len() >= 13, "{:?}", crates.keys());
    let mut found = Vec::new();
    for (name, root) in &crates {
        let read = Crate::read(root);
        let shown = |file: &Path| file.strip_prefix(root.parent().unwrap()).unwrap().display().to_string();
        let arrows = circles(&read.arrows()).into_iter();
        found.extend(arrows.map(|(from, to)| format!("{name}: {} -> {}", shown(from), shown(to))));
    }
    assert!(found.is_empty(), "these modules are in circles:\n{}", found.join("\n"));
}

/// The floors of kube-embedded, from below. A module may use modules of lower floors, but not of its own floor.
const FLOORS: [&[&str]; 11] = [
    &["clock", "json", "random", "user", "warnings", "webhook"],
    &["kubelet", "store"],
    &["resource", "streams"],
    &["status"],
    &["scheme"],
    &["strategy"],
    &["cluster"],
    &["http", "controllers"],
    &["error"],
    &["endpoint"],
    &["server"],
];

#[test]
fn kube_embedded_keeps_to_its_floors() {
    let root = &crates()["kube-embedded"];
    let read = Crate::read(root);
    let folder = root.parent().unwrap();
    let module = |file: &Path| {
        let first = file.strip_prefix(folder).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    let floor = |module: &str| FLOORS.iter().position(|floor| floor.contains(&module));
    let mut wrong = BTreeSet::new();
    for (from, targets) in read.arrows() {
        let from = module(from);
        // The crate root has arrows to everything that it exports.
        if from == "lib" {
            continue;
        }
        let on = floor(&from).unwrap_or_else(|| panic!("{from} is on no floor"));
        for target in targets.into_iter().map(module).filter(|target| *target != from) {
            if floor(&target).is_none_or(|below| below >= on) {
                wrong.insert(format!("{from} must not use {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Tests the reader itself: which arrows it sees, and which it ignores.
#[test]
fn circles_are_seen_through_re_exports_and_macros() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d; pub use a::Thing;"),
        ("a.rs", "pub struct Thing; fn f() { assert!(crate::b::g()); }"),
        ("b.rs", "use crate::Thing; pub fn g() -> bool { true }"),
        ("c.rs", "pub fn h() {} #[cfg(test)] mod tests { use crate::d::i; }"),
        ("d.rs", "use super::c::{self}; pub fn i() { c::h() }"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let read = Crate::read(&folder.path().join("lib.rs"));
    let arrows = read.arrows();
    let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
    let found: Vec<_> = circles(&arrows).into_iter().map(|(from, to)| (name(from), name(to))).collect();
    let arrow = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(found, [arrow("a.rs", "b.rs"), arrow("b.rs", "a.rs")]);
}
