//! The map's guard: reads the tree and fails on what `docs/architecture.md` rules out.
//!
//! Checked: who imports whom, dependencies against `tests/tidy.toml`, banned items, file and function length,
//! documentation of public items, `unsafe` outside `proxy/src/sys/`. What is allowed stands in `tidy.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const CRATES: &[&str] = &["core", "auth", "proxy", "ctrl", "k8s", "perf", "tests"];

/// `tidy.toml`.
#[derive(Deserialize)]
struct Rules {
    file_lines_max: usize,
    function_lines_max: usize,
    /// Crate → the dependencies it may name, of the workspace and from elsewhere.
    dependencies: BTreeMap<String, Vec<String>>,
    banned: Vec<Banned>,
    /// Licence expressions of dependencies, as they write them.
    licences: Vec<String>,
    /// Crates that may be there in two versions.
    twice: Vec<String>,
}

/// Text that must not stand in the code below some folders.
#[derive(Deserialize)]
struct Banned {
    text: String,
    below: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    why: String,
}

/// One Rust file, with its path relative to the tree's root.
struct Source {
    path: String,
    text: String,
    is_test: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the tree").to_owned()
}

fn rules() -> Rules {
    let path = root().join("tests/tidy.toml");
    toml::from_str(&fs::read_to_string(path).expect("tests/tidy.toml")).expect("tests/tidy.toml is valid")
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for name in CRATES {
        collect(&root(), &root().join(name), &mut found);
    }
    assert!(found.len() > 20, "the tree was not found");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(root, &path, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            let relative = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            let is_test = relative.contains("/tests/")
                || relative.starts_with("tests/")
                || relative.ends_with("tests.rs")
                || relative.ends_with("testing.rs")
                || relative.contains("/examples/")
                || relative.contains("_tests");
            found.push(Source {
                text: fs::read_to_string(&path).expect("readable"),
                path: relative,
                is_test,
            });
        }
    }
}

fn report(what: &str, problems: Vec<String>) {
    assert!(problems.is_empty(), "{what}:\n  {}", problems.join("\n  "));
}

#[test]
fn dependencies_are_the_allowed_ones() {
    let rules = rules();
    let mut problems = Vec::new();
    for (name, allowed) in &rules.dependencies {
        let Ok(text) = fs::read_to_string(root().join(name).join("Cargo.toml")) else { continue };
        let manifest: toml::Table = text.parse().expect("Cargo.toml is valid");
        for table in ["dependencies", "build-dependencies"] {
            for dependency in
                manifest.get(table).and_then(|it| it.as_table()).into_iter().flat_map(|it| it.keys())
            {
                if !allowed.contains(dependency) {
                    problems
                        .push(format!("{name} depends on {dependency}, which tests/tidy.toml does not list"));
                }
            }
        }
    }
    report("dependencies", problems);
}

/// Everything that is built for this machine, as `cargo metadata` tells it.
fn packages() -> Vec<serde_json::Value> {
    let host = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let triple = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc tells its host");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", triple])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    metadata["packages"].as_array().expect("a list of packages").clone()
}

#[test]
fn dependencies_are_permissive_single_and_from_the_registry() {
    let rules = rules();
    let mut problems = Vec::new();
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        let licence = package["license"].as_str().unwrap_or_default();
        if !rules.licences.iter().any(|it| it == licence) {
            problems.push(format!("{name}: licence {licence:?} is not on the list of tests/tidy.toml"));
        }
        let source = package["source"].as_str().unwrap_or("registry+");
        if !source.starts_with("registry+") {
            problems.push(format!("{name}: comes from {source}, not from the registry"));
        }
        *versions.entry(name).or_default() += 1;
    }
    let doubled = versions.iter().filter(|(name, count)| **count > 1 && !rules.twice.contains(name));
    problems.extend(doubled.map(|(name, count)| format!("{name}: {count} versions of one crate")));
    report("dependencies", problems);
}

#[test]
fn nothing_banned_is_used() {
    let rules = rules();
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test) {
        for banned in &rules.banned {
            let applies = banned.below.iter().any(|below| source.path.starts_with(below))
                && !banned.except.iter().any(|except| source.path.starts_with(except));
            if !applies {
                continue;
            }
            for (index, line) in source.text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if code.contains(&banned.text) {
                    problems.push(format!(
                        "{}:{}: `{}`: {}",
                        source.path,
                        index + 1,
                        banned.text,
                        banned.why
                    ));
                }
            }
        }
    }
    report("banned items", problems);
}

#[test]
fn files_are_short() {
    let max = rules().file_lines_max;
    let long = |source: &Source| {
        let lines = source.text.lines().count();
        (lines > max).then(|| format!("{}: {lines} lines, at most {max}: split it by concept", source.path))
    };
    report("files too long", sources().iter().filter_map(long).collect());
}

#[test]
fn functions_fit_a_screen_and_public_items_are_documented() {
    let rules = rules();
    let mut problems = Vec::new();
    for source in &sources() {
        let file = match syn::parse_file(&source.text) {
            Ok(file) => file,
            Err(error) => {
                problems.push(format!("{}: does not parse: {error}", source.path));
                continue;
            }
        };
        let mut reader = Reader {
            source,
            lines_max: rules.function_lines_max,
            problems: &mut problems,
            in_trait_impl: false,
        };
        reader.visit_file(&file);
    }
    report("functions and documentation", problems);
}

struct Reader<'a> {
    source: &'a Source,
    lines_max: usize,
    problems: &'a mut Vec<String>,
    in_trait_impl: bool,
}

impl Reader<'_> {
    fn function(&mut self, name: &syn::Ident, block: &syn::Block) {
        let lines = block.span().end().line.saturating_sub(block.span().start().line) + 1;
        if lines > self.lines_max {
            self.problems.push(format!(
                "{}:{}: fn {name} has {lines} lines, at most {}",
                self.source.path,
                name.span().start().line,
                self.lines_max
            ));
        }
    }

    fn documented(&mut self, visibility: &syn::Visibility, attributes: &[syn::Attribute], name: &syn::Ident) {
        let has = |path: &str| attributes.iter().any(|attribute| attribute.path().is_ident(path));
        let allowed = attributes.iter().any(|attribute| {
            attribute.path().is_ident("allow")
                && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string().contains("missing_docs"))
        });
        if matches!(visibility, syn::Visibility::Public(_))
            && !self.source.is_test
            && !self.in_trait_impl
            && !has("doc")
            && !allowed
        {
            self.problems.push(format!(
                "{}:{}: public item {name} has no doc comment",
                self.source.path,
                name.span().start().line
            ));
        }
    }
}

fn is_test_module(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test_module(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, &item.block);
        self.documented(&item.vis, &item.attrs, &item.sig.ident);
        visit::visit_item_fn(self, item);
    }
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let before = std::mem::replace(&mut self.in_trait_impl, item.trait_.is_some());
        visit::visit_item_impl(self, item);
        self.in_trait_impl = before;
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, &item.block);
        self.documented(&item.vis, &item.attrs, &item.sig.ident);
        visit::visit_impl_item_fn(self, item);
    }
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.documented(&item.vis, &item.attrs, &item.ident);
    }
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.documented(&item.vis, &item.attrs, &item.ident);
    }
    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.documented(&item.vis, &item.attrs, &item.ident);
        visit::visit_item_trait(self, item);
    }
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.documented(&item.vis, &item.attrs, &item.ident);
    }
}
