//! What a file of Rust names: paths from the root of its crate, and paths of packages.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::{BTreeMap, BTreeSet};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMacro, ItemMod, ItemUse, LitStr, Macro, Meta, Token, UseTree};

/// The names in one file.
#[derive(Default)]
pub(super) struct Names<'a> {
    pub(super) library: &'a str,
    /// The folder of the file; `lib.rs` has none.
    pub(super) folder: Option<String>,
    /// The module that is visited, from the root of its crate.
    pub(super) module: Vec<String>,
    /// Paths from the root, which begin with `crate` or the library, and others as they are written. A path
    /// that ends with `*` names all that is below it.
    pub(super) paths: BTreeSet<Vec<String>>,
    /// Exported macros and re-exports at the root of the library, and their paths.
    pub(super) at_root: BTreeMap<String, Vec<String>>,
    /// Modules in other files that are compiled for tests only.
    pub(super) tests: Vec<Vec<String>>,
}

/// Methods that visit a node unless it is for tests only.
macro_rules! without_tests {
    ($($visit:ident: $Node:ident,)*) => {
        $(fn $visit(&mut self, node: &'ast syn::$Node) {
            if !is_test(node) {
                visit::$visit(self, node);
            }
        })*
    };
}

impl<'ast> Visit<'ast> for Names<'_> {
    without_tests! {
        visit_arm: Arm,
        visit_field: Field,
        visit_field_value: FieldValue,
        visit_impl_item: ImplItem,
        visit_stmt: Stmt,
        visit_trait_item: TraitItem,
        visit_variant: Variant,
    }

    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        } else if let Item::Mod(ItemMod { ident, content: None, .. }) = item {
            self.tests.push([&self.module[..], &[ident.to_string()]].concat());
        }
    }

    /// A program imports the modules in other files that it declares.
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        if item.content.is_none() && self.module.is_empty() {
            self.paths.insert(vec!["crate".to_owned(), name.clone()]);
        }
        self.module.push(name);
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        let is_exported = item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"));
        if let (true, Some(name), Some(folder)) = (is_exported, &item.ident, &self.folder) {
            self.at_root.insert(name.to_string(), vec!["crate".to_owned(), folder.clone()]);
        }
        visit::visit_item_macro(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&item.tree, vec![]);
        visit::visit_item_use(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        let path_from_root = self.resolve(&names.collect::<Vec<_>>());
        if path_from_root.len() > 1 {
            self.paths.insert(path_from_root);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        visit::visit_macro(self, call);
        self.tokens(call.tokens.clone(), false);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        visit::visit_attribute(self, attribute);
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone(), true);
        }
    }
}

impl Names<'_> {
    /// The path from the root, if it begins with `crate`, `self`, `super` or the library.
    fn resolve(&self, path: &[String]) -> Vec<String> {
        let is_step = |name: &&String| ["crate", "self", "super", self.library].contains(&name.as_str());
        let (steps, names) = path.split_at(path.iter().take_while(is_step).count());
        let Some(first) = steps.first() else { return names.to_vec() };
        let is_relative = first == "self" || first == "super";
        let mut module = if is_relative { self.module.clone() } else { vec![] };
        module.truncate(module.len().saturating_sub(steps.iter().filter(|step| *step == "super").count()));
        let head = if first == self.library { first.clone() } else { "crate".to_owned() };
        [vec![head], module, names.to_vec()].concat()
    }

    /// Adds what an import names below a path.
    fn import(&mut self, tree: &UseTree, mut path: Vec<String>) {
        let (name, alias) = match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                return self.import(&tree.tree, path);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, path.clone()));
            }
            UseTree::Glob(_) => ("*".to_owned(), None),
            UseTree::Name(name) => (name.ident.to_string(), None),
            UseTree::Rename(name) => (name.ident.to_string(), Some(name.rename.to_string())),
        };
        if name != "self" || path.is_empty() {
            path.push(name);
        }
        let alias = alias.or_else(|| path.last().cloned()).unwrap_or_default();
        let mut path = self.resolve(&path);
        if path == ["crate"] || path == [self.library] {
            path.push("*".to_owned());
        }
        if self.folder.is_none() && self.module.is_empty() {
            self.at_root.insert(alias, path.clone());
        }
        self.paths.insert(path);
    }

    /// Adds what tokens name: each `name::name`, and in attributes also strings that are paths.
    fn tokens(&mut self, tokens: TokenStream, is_attribute: bool) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let is = |at: usize, sign| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == sign);
        let mut at = 0;
        while at < tokens.len() {
            let start = at;
            at += 1;
            match &tokens[start] {
                TokenTree::Group(group) => self.tokens(group.stream(), is_attribute),
                TokenTree::Ident(_) => {
                    let is_name = |at: usize| match tokens.get(at) {
                        Some(TokenTree::Group(_) | TokenTree::Ident(_)) => true,
                        _ => is(at, '*'),
                    };
                    while is(at, ':') && is(at + 1, ':') && is_name(at + 2) {
                        at += 3;
                    }
                    let path = tokens[start..at].iter().cloned().collect();
                    if let (true, Ok(tree)) = (at > start + 1, syn::parse2(path)) {
                        self.import(&tree, vec![]);
                    }
                }
                TokenTree::Literal(literal) if is_attribute => {
                    let string = syn::parse2::<LitStr>(literal.to_token_stream());
                    if let Ok(path) = string.and_then(|string| string.parse::<syn::Path>()) {
                        self.visit_path(&path);
                    }
                }
                TokenTree::Literal(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

/// Whether a node is compiled for tests only: by `#[cfg(test)]` or `#[cfg(all(test, ..))]`.
fn is_test(node: &impl ToTokens) -> bool {
    fn needs_test(meta: &Meta) -> bool {
        match meta {
            Meta::List(list) if list.path.is_ident("all") || list.path.is_ident("cfg") => {
                let metas = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
                metas.is_ok_and(|metas| metas.iter().any(needs_test))
            }
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(_) | Meta::NameValue(_) => false,
        }
    }
    let parse = |input: syn::parse::ParseStream<'_>| {
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<TokenStream>()?;
        Ok(attributes)
    };
    let attributes = parse.parse2(node.to_token_stream()).unwrap_or_default();
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg") && needs_test(&attribute.meta))
}
