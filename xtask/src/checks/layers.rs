// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether files import only downwards.
//!
//! ```text
//! a file of tmem-core ──► its own folder, or a layer below       any file ──► no file that imports it,
//!                                                                even indirectly
//! ```
//!
//! An import is a `use` item, or a path in the code that begins with `crate`, `self`, `super` or a child module. It
//! leads to the file of the last module that it names. Tests (`#[cfg(test)]`) may import anything. Declaring a child
//! module is not an import.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};

use crate::files;
use crate::places;

/// The layers of `tmem-core`, lowest first: files or folders in its `src`. `lib.rs` is above them all.
const LAYERS: [&str; 20] = [
    "speculation",
    "names",
    "frame",
    "holder",
    "sync",
    "prefetch",
    "hash",
    "stats",
    "compress",
    "host",
    "memory",
    "index",
    "record",
    "contents",
    "eviction",
    "shard",
    "clients",
    "engine",
    "check",
    "sim",
];

/// The crates whose files must not import each other in a circle.
const CRATES: [&str; 7] = [
    "hypercall-abi",
    "tmem-core",
    "tmem-xen-shim",
    "tmem-guest",
    "tmemctl",
    "xenstore-client",
    "xtask",
];

/// A module: the names that lead to it from the crate's root.
type Module = Vec<String>;

/// Each file's module, and the modules of other files that it imports from.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// Checks the layers of `tmem-core`, and every crate for circles; returns what was checked, in words.
///
/// # Errors
/// Names each import that leads upwards, and one circle of each crate that has any.
pub fn check() -> Result<String> {
    let mut wrong = Vec::new();
    let mut files = 0;
    for name in CRATES {
        let sources = read(&places::root().join(name).join("src"))?;
        files += sources.len();
        let imports = imports(&sources).with_context(|| format!("can't read {name}"))?;
        if name == "tmem-core" {
            wrong.extend(upward(&imports, &LAYERS));
        }
        wrong.extend(circle(&imports).map(|circle| format!("{name}: a circle: {circle}")));
    }
    ensure!(wrong.is_empty(), "imports:\n    {}", wrong.join("\n    "));
    Ok(format!(
        "{files} files of {} crates import downwards only",
        CRATES.len()
    ))
}

/// The modules of the files below a `src` folder, with their text.
fn read(folder: &Path) -> Result<BTreeMap<Module, String>> {
    let mut sources = BTreeMap::new();
    for path in files::below(folder)? {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        sources.insert(module_of(path.strip_prefix(folder)?), text);
    }
    Ok(sources)
}

/// The module of a file, by its path in `src`.
fn module_of(path: &Path) -> Module {
    let mut module: Module = path
        .with_extension("")
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    if let [.., last] = &module[..]
        && (last == "mod" || module.len() == 1 && (last == "lib" || last == "main"))
    {
        module.pop();
    }
    module
}

/// What each file imports, not counting tests.
fn imports(sources: &BTreeMap<Module, String>) -> Result<Imports> {
    let mut parsed = BTreeMap::new();
    let mut tests = Vec::new();
    for (module, text) in sources {
        let file =
            syn::parse_file(text).with_context(|| format!("can't parse {}", shown(module)))?;
        for item in &file.items {
            if let Item::Mod(child) = item
                && is_test(&child.attrs)
            {
                tests.push([&module[..], &[child.ident.to_string()]].concat());
            }
        }
        parsed.insert(module, file);
    }
    parsed.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
    Ok(parsed
        .into_iter()
        .map(|(module, file)| {
            let mut finder = Finder {
                sources,
                here: module.clone(),
                found: BTreeSet::new(),
            };
            finder.visit_file(&file);
            finder.found.remove(module);
            (module.clone(), finder.found)
        })
        .collect())
}

/// Finds what a file imports.
struct Finder<'a> {
    sources: &'a BTreeMap<Module, String>,
    /// The module being looked at: the file's, or one inside it.
    here: Module,
    found: BTreeSet<Module>,
}

impl Finder<'_> {
    /// Notes the file that a path leads to, if it is one of the crate's.
    fn note(&mut self, path: &[String]) {
        let mut at = self.here.clone();
        let mut names = path.iter().peekable();
        match names.peek().map(|name| name.as_str()) {
            Some("crate") => {
                at.clear();
                names.next();
            }
            Some("self") => {
                names.next();
            }
            Some("super") => {}
            Some(name) => {
                let child = [&at[..], &[name.to_owned()]].concat();
                if !self.sources.contains_key(&child) {
                    return;
                }
            }
            None => return,
        }
        for name in names {
            if name == "super" {
                at.pop();
                continue;
            }
            at.push(name.clone());
            if !self.sources.contains_key(&at) {
                at.pop();
                break;
            }
        }
        // A module inside a file counts as that file.
        while !self.sources.contains_key(&at) && at.pop().is_some() {}
        self.found.insert(at);
    }

    fn note_tree(&mut self, path: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(then) => {
                path.push(then.ident.to_string());
                self.note_tree(path, &then.tree);
                path.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_tree(path, tree);
                }
            }
            UseTree::Name(_) | UseTree::Rename(_) | UseTree::Glob(_) => {
                let last = match tree {
                    UseTree::Name(name) => Some(&name.ident),
                    UseTree::Rename(rename) => Some(&rename.ident),
                    _ => None,
                };
                let last = last.map(ToString::to_string).filter(|name| name != "self");
                let whole: Vec<_> = path.iter().cloned().chain(last).collect();
                self.note(&whole);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(it) => &it.attrs,
            Item::Use(it) => &it.attrs,
            Item::Fn(it) => &it.attrs,
            Item::Impl(it) => &it.attrs,
            _ => &Vec::new(),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.note_tree(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        if names.len() > 1 {
            self.note(&names);
        }
        visit::visit_path(self, path);
    }
}

/// Whether an item is for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// Imports that lead to a higher layer, or to or from a module that is in no layer.
fn upward(imports: &Imports, layers: &[&str]) -> Vec<String> {
    let rank = |module: &Module| {
        let top = module.first()?;
        layers.iter().position(|layer| layer == top)
    };
    let mut wrong = Vec::new();
    for (from, targets) in imports.iter().filter(|(from, _)| !from.is_empty()) {
        let Some(own) = rank(from) else {
            wrong.push(format!(
                "{} is in no layer: add it to the list",
                shown(from)
            ));
            continue;
        };
        for to in targets {
            if rank(to).is_none_or(|rank| rank > own) {
                wrong.push(format!("{} imports from above: {}", shown(from), shown(to)));
            }
        }
    }
    wrong
}

/// A shortest circle of files that import each other, if there is one.
fn circle(imports: &Imports) -> Option<String> {
    let circles = imports.keys().filter_map(|start| way(imports, start));
    let shortest = circles.min_by_key(Vec::len)?;
    Some(
        shortest
            .into_iter()
            .map(shown)
            .collect::<Vec<_>>()
            .join(" -> "),
    )
}

/// A shortest path from a file back to itself.
fn way<'a>(imports: &'a Imports, start: &'a Module) -> Option<Vec<&'a Module>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![start]];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for to in imports.get(*way.last()?).into_iter().flatten() {
                let way = [&way[..], &[to]].concat();
                if to == start {
                    return Some(way);
                }
                if seen.insert(to) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// A module's name as in code.
fn shown(module: &Module) -> String {
    if module.is_empty() {
        "the crate's root".to_owned()
    } else {
        module.join("::")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::{Imports, circle, imports, module_of, upward};

    fn tree(files: &[(&str, &str)]) -> Imports {
        let sources: BTreeMap<_, _> = files
            .iter()
            .map(|(path, text)| (module_of(Path::new(path)), (*text).to_owned()))
            .collect();
        imports(&sources).expect("Rust")
    }

    const LAYERS: [&str; 3] = ["names", "store", "engine"];

    #[test]
    fn imports_from_below_and_beside_are_right() {
        let tree = tree(&[
            (
                "lib.rs",
                "mod engine; mod names; mod store; pub use engine::Engine;",
            ),
            ("names.rs", "pub struct Id(core::num::NonZeroU32);"),
            (
                "store/mod.rs",
                "mod cell; pub use cell::Cell; use crate::names::Id;",
            ),
            (
                "store/cell.rs",
                "use super::super::names::Id; pub struct Cell(Id);",
            ),
            (
                "engine.rs",
                "use crate::{names::Id, store::Cell}; pub struct Engine(Cell, Id);",
            ),
        ]);
        assert_eq!(upward(&tree, &LAYERS), Vec::<String>::new());
        assert_eq!(circle(&tree), None);
    }

    #[test]
    fn an_import_from_above_is_noticed_wherever_it_stands() {
        for text in [
            "use crate::engine::Engine;",
            "use super::engine::{self, Other};",
            "fn f() { crate::engine::start() }",
            "struct S(Option<crate::engine::Engine>);",
            "mod inner { use super::super::engine::Engine; }",
            "use crate::{names::Id, engine::*};",
        ] {
            let tree = tree(&[
                ("lib.rs", "mod engine; mod names; mod store;"),
                ("names.rs", "pub struct Id;"),
                ("store.rs", text),
                ("engine.rs", "pub struct Engine;"),
            ]);
            let wrong = ["store imports from above: engine".to_owned()];
            assert_eq!(upward(&tree, &LAYERS), wrong, "{text}");
        }
    }

    #[test]
    fn a_file_in_no_layer_is_noticed() {
        let tree = tree(&[("lib.rs", "mod misc;"), ("misc.rs", "")]);
        assert_eq!(
            upward(&tree, &LAYERS),
            ["misc is in no layer: add it to the list"]
        );
    }

    #[test]
    fn tests_may_import_anything() {
        let tree = tree(&[
            ("lib.rs", "mod engine; mod store;"),
            (
                "store/mod.rs",
                "#[cfg(test)] mod tests; #[cfg(test)] mod more { use crate::engine::E; }",
            ),
            ("store/tests.rs", "use crate::engine::E;"),
            ("engine.rs", "use crate::store::S;"),
        ]);
        assert_eq!(upward(&tree, &LAYERS), Vec::<String>::new());
        assert_eq!(circle(&tree), None);
    }

    #[test]
    fn a_circle_is_noticed_however_long() {
        let tree = tree(&[
            ("main.rs", "mod a; mod b; mod c; fn main() { a::f() }"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "fn f() { super::c::g() }"),
            ("c.rs", "use crate::a;"),
        ]);
        assert_eq!(circle(&tree).as_deref(), Some("a -> b -> c -> a"));
    }

    #[test]
    fn a_child_that_reaches_up_to_a_parent_that_uses_it_is_a_circle() {
        let parent = "mod child; use child::Child; pub struct Parent;";
        let tree = tree(&[
            ("lib.rs", "mod p;"),
            ("p/mod.rs", parent),
            ("p/child.rs", "use super::Parent;"),
        ]);
        assert_eq!(circle(&tree).as_deref(), Some("p -> p::child -> p"));
    }
}
