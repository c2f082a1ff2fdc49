//! The parsed source: its modules, the names that each brings in, and every path that it mentions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{LineColumn, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A module's or item's place in the crate: `["format", "torch"]`. The root is empty.
pub(super) type Place = Vec<String>;

/// All files of a package's `src`.
pub(super) struct Source {
    pub(super) files: Vec<File>,
    /// The place of every module.
    pub(super) modules: BTreeSet<Place>,
    /// For each module, the places that its own names stand for, through `use`.
    names: BTreeMap<Place, BTreeMap<String, Place>>,
}

/// One file.
pub(super) struct File {
    /// Its path from the package on: `src/format/mod.rs`.
    pub(super) path: String,
    /// The module that it holds.
    pub(super) place: Place,
    pub(super) text: String,
    pub(super) syntax: syn::File,
    pub(super) mentions: Vec<Mention>,
    /// First and last line of each item that is compiled for tests alone.
    pub(super) test_lines: Vec<(usize, usize)>,
}

/// A path that a file mentions.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    /// The module that mentions it.
    pub(super) from: Place,
    /// The line, from 1.
    pub(super) line: usize,
    pub(super) target: Target,
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Something in this crate, as written, without `crate`, `self` and `super`.
    Inside(Place),
    /// The crate root itself under another name, or all of its names (`use crate::*`).
    Root,
    /// Something in another crate, or a name that was brought in elsewhere.
    Outside(Vec<String>),
}

impl Source {
    /// Reads `src` of this package.
    pub(super) fn read() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(package.join("src")).sort_by_file_name() {
            let entry = entry.unwrap();
            if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let name = entry.path().strip_prefix(package).unwrap().to_str().unwrap().replace('\\', "/");
                files.push((name, fs::read_to_string(entry.path()).unwrap()));
            }
        }
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        Self::parse(&files)
    }

    /// Parses files given as path (`src/…`) and text.
    pub(super) fn parse(files: &[(&str, &str)]) -> Self {
        let parsed: Vec<_> = files
            .iter()
            .map(|(path, text)| {
                let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
                (*path, *text, module_of(path), syntax)
            })
            .collect();
        let mut outline = Outline::default();
        for (_, _, place, syntax) in &parsed {
            outline.read_items(place, &syntax.items);
        }
        let mut source = Self { files: Vec::new(), modules: outline.modules, names: BTreeMap::new() };
        for (path, text, place, syntax) in parsed {
            if outline.test_modules.iter().any(|tests| place.starts_with(tests)) {
                continue;
            }
            source.read_file(path, text, place, syntax);
        }
        source
    }

    fn read_file(&mut self, path: &str, text: &str, place: Place, syntax: syn::File) {
        let mut reader = Reader {
            modules: &self.modules,
            names: &mut self.names,
            place: place.clone(),
            mentions: Vec::new(),
            test_lines: Vec::new(),
        };
        reader.visit_file(&syntax);
        let (mentions, test_lines) = (reader.mentions, reader.test_lines);
        self.files.push(File { path: path.into(), place, text: text.into(), syntax, mentions, test_lines });
    }

    /// Follows re-exports until the place is where the item is defined, as far as that can be seen.
    pub(super) fn resolve(&self, place: &[String]) -> Place {
        let mut place = place.to_vec();
        // Far more steps than any chain of re-exports has; a cycle of them would not compile.
        for _ in 0..64 {
            let Some(next) = self.follow(&place) else { break };
            place = next;
        }
        place
    }

    /// Replaces the first name in `place` that its module has brought in by `use`.
    fn follow(&self, place: &[String]) -> Option<Place> {
        (0..place.len()).find_map(|at| {
            let (module, rest) = place.split_at(at);
            let (name, rest) = rest.split_first()?;
            // A function may have the name of its module; what has more names after it is the module.
            if !rest.is_empty() && self.modules.contains(&place[..=at]) {
                return None;
            }
            let target = self.names.get(module)?.get(name)?;
            let next = [target, rest].concat();
            (next != place).then_some(next)
        })
    }
}

/// Returns the place of the module that a file holds: `src/format/mod.rs` holds `format`.
///
/// `src/main.rs` is the command's file: it is counted to `cli`.
fn module_of(path: &str) -> Place {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    match path {
        "lib" => Vec::new(),
        "main" => vec!["cli".into()],
        _ => path.strip_suffix("/mod").unwrap_or(path).split('/').map(str::to_owned).collect(),
    }
}

/// Returns whether an item is compiled for tests alone.
pub(super) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return attribute.path().is_ident("test") };
        let mut tokens = list.tokens.clone().into_iter();
        let first = tokens.next().map(|token| token.to_string());
        match first.as_deref() {
            Some("test") => list.path.is_ident("cfg") && tokens.next().is_none(),
            Some("all") => list.path.is_ident("cfg") && tokens.next().is_some_and(|all| names_test(&all)),
            _ => false,
        }
    })
}

/// Returns whether one condition in the parentheses of `all(…)` is `test`.
fn names_test(all: &TokenTree) -> bool {
    let TokenTree::Group(group) = all else { return false };
    group.stream().into_iter().any(|token| matches!(&token, TokenTree::Ident(ident) if ident == "test"))
}

/// Returns the attributes of an item, for the kinds that can be test code.
fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The modules, known before any path is looked at.
#[derive(Default)]
struct Outline {
    modules: BTreeSet<Place>,
    test_modules: BTreeSet<Place>,
}

impl Outline {
    fn read_items(&mut self, place: &[String], items: &[syn::Item]) {
        for item in items {
            let syn::Item::Mod(module) = item else { continue };
            let inner = child(place, &module.ident);
            if is_test(&module.attrs) {
                self.test_modules.insert(inner);
                continue;
            }
            if let Some((_, items)) = &module.content {
                self.read_items(&inner, items);
            }
            self.modules.insert(inner);
        }
    }
}

fn child(place: &[String], name: &syn::Ident) -> Place {
    place.iter().cloned().chain([name.to_string()]).collect()
}

/// Gathers the paths that a file mentions.
struct Reader<'a> {
    modules: &'a BTreeSet<Place>,
    names: &'a mut BTreeMap<Place, BTreeMap<String, Place>>,
    /// The module that is being read.
    place: Place,
    mentions: Vec<Mention>,
    test_lines: Vec<(usize, usize)>,
}

impl Reader<'_> {
    fn mention(&mut self, span: Span, target: Target) {
        self.mentions.push(Mention { from: self.place.clone(), line: span.start().line, target });
    }

    /// Finds where a path leads from here; `None` for one that stays inside this module.
    fn target(&self, segments: &[String], in_use: bool) -> Option<Target> {
        let mut place = self.place.clone();
        let mut rest = segments;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" | "$crate" | "ckpt" => place.clear(),
                "super" => drop(place.pop()),
                "self" => {}
                _ => break,
            }
            rest = after;
        }
        if rest.len() < segments.len() {
            place.extend_from_slice(rest);
            return Some(Target::Inside(place));
        }
        place.push(rest.first()?.clone());
        if self.modules.contains(&place) {
            place.extend_from_slice(rest.get(1..)?);
            return Some(Target::Inside(place));
        }
        (in_use || rest.len() > 1).then(|| Target::Outside(rest.to_vec()))
    }

    fn read_use(&mut self, prefix: &[String], tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                let prefix: Vec<_> = prefix.iter().cloned().chain([path.ident.to_string()]).collect();
                self.read_use(&prefix, &path.tree);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.read_use(prefix, tree)),
            syn::UseTree::Name(name) => self.bring_in(prefix, &name.ident, &name.ident),
            syn::UseTree::Rename(rename) => self.bring_in(prefix, &rename.ident, &rename.rename),
            syn::UseTree::Glob(glob) => match self.target(prefix, true) {
                Some(Target::Inside(place)) if place.is_empty() => self.mention(glob.span(), Target::Root),
                Some(target) => self.mention(glob.span(), target),
                None => {}
            },
        }
    }

    /// Notes that `name` under `prefix` is called `known_as` in this module from here on.
    fn bring_in(&mut self, prefix: &[String], name: &syn::Ident, known_as: &syn::Ident) {
        let mut segments = prefix.to_vec();
        if name != "self" || prefix.is_empty() {
            segments.push(name.to_string());
        }
        let known_as = if known_as == "self" { segments.last().cloned() } else { Some(known_as.to_string()) };
        let Some(target) = self.target(&segments, true) else { return };
        if let (Target::Inside(place), Some(known_as)) = (&target, known_as) {
            self.names.entry(self.place.clone()).or_default().insert(known_as, place.clone());
        }
        let is_root = matches!(&target, Target::Inside(place) if place.is_empty());
        self.mention(name.span(), if is_root { Target::Root } else { target });
    }

    /// Finds paths among tokens that aren't parsed: a macro's arguments and body.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let mut start = Span::call_site();
        let mut colons = 0;
        for token in tokens {
            match &token {
                TokenTree::Ident(ident) if colons == 2 && !segments.is_empty() => {
                    segments.push(ident.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !segments.is_empty() => {
                    colons += 1;
                    continue;
                }
                _ => {
                    self.mention_tokens(start, &segments);
                    segments.clear();
                    if let TokenTree::Ident(ident) = &token {
                        start = ident.span();
                        segments.push(ident.to_string());
                    }
                }
            }
            colons = 0;
            if let TokenTree::Group(group) = &token {
                self.read_tokens(group.stream());
            }
        }
        self.mention_tokens(start, &segments);
    }

    fn mention_tokens(&mut self, span: Span, segments: &[String]) {
        if segments.len() > 1
            && let Some(target) = self.target(segments, false)
        {
            self.mention(span, target);
        }
    }

    /// Finds paths in the strings of an attribute, such as `#[serde(with = "crate::x")]`.
    fn read_strings(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.read_strings(group.stream()),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    if let Ok(tokens) = text.trim_matches('"').parse() {
                        self.read_tokens(tokens);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_test(attributes(item)) {
            self.test_lines.push(lines(item.span()));
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if is_test(&function.attrs) {
            self.test_lines.push(lines(function.span()));
            return;
        }
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.place.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.place.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.read_use(&[], &item.tree);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let known_as_root = item.ident == "self";
        let target = if known_as_root { Target::Root } else { Target::Outside(vec![item.ident.to_string()]) };
        self.mention(item.span(), target);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(target) = self.target(&segments, false) {
            self.mention(path.span(), target);
        }
        visit::visit_path(self, path);
    }

    // `pub(in crate::x)` and `pub(super)` name an ancestor: they import nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.read_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        match &attribute.meta {
            _ if attribute.path().is_ident("doc") || attribute.path().is_ident("expect") => {}
            syn::Meta::List(list) => {
                self.read_tokens(list.tokens.clone());
                self.read_strings(list.tokens.clone());
            }
            _ => {}
        }
    }
}

/// Returns the first and the last line of a span, from 1.
pub(super) fn lines(span: Span) -> (usize, usize) {
    let (LineColumn { line: first, .. }, LineColumn { line: last, .. }) = (span.start(), span.end());
    (first, last)
}
