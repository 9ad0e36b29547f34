//! An existing policy held against what is needed: what it lacks, and what it grants beyond that. Conditions are said, not
//! judged: whether they hold only AWS knows at the time.

use std::collections::BTreeMap;

use super::existing::{Document, Rule};
use super::glob::covers;
use super::{Needs, Permission, named};
use crate::denial::Statement;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What is needed and not granted.
    pub lacking: Vec<Lacking>,
    /// What is granted and not needed.
    pub beyond: Vec<Beyond>,
    /// The statements that count only under a condition.
    pub conditional: Vec<String>,
}

/// A permission that is needed and not had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// What is needed.
    pub permission: Permission,
    /// The statement that denies it; without one, none allows it.
    pub denied_by: Option<String>,
}

/// What a statement grants and nothing of this configuration needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Its `Sid`, or which one it is.
    pub statement: String,
    /// The action as it is granted.
    pub action: String,
    /// Why that is more than is needed.
    pub reason: String,
}

impl Comparison {
    /// What to add to the policy; nothing cures what is denied.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        let mut by_resource: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for lacking in self.lacking.iter().filter(|lacking| lacking.denied_by.is_none()) {
            by_resource.entry(&lacking.permission.resource).or_default().push(lacking.permission.action.clone());
        }
        let mut by_actions: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
        for (resource, actions) in by_resource {
            by_actions.entry(actions).or_default().push(resource.to_owned());
        }
        let mut statements: Vec<Statement> =
            by_actions.into_iter().map(|(actions, resources)| named("ImdsAgent", actions, resources)).collect();
        super::number(&mut statements);
        statements
    }
}

/// Holds `document` against `needs`.
#[must_use]
pub fn compare(needs: &Needs, document: &Document) -> Comparison {
    let needed = needs.permissions();
    let (denies, allows): (Vec<&Rule>, Vec<&Rule>) = document.rules.iter().partition(|rule| rule.is_deny);
    let lacking = needed.iter().filter_map(|permission| lacking(permission, &allows, &denies)).collect();
    let beyond = allows.iter().flat_map(|rule| beyond(rule, &needed)).collect();
    let conditional = document.rules.iter().filter(|rule| rule.has_condition).map(|rule| rule.name.clone()).collect();
    Comparison { lacking, beyond, conditional }
}

fn lacking(permission: &Permission, allows: &[&Rule], denies: &[&Rule]) -> Option<Lacking> {
    let action = permission.action.to_ascii_lowercase();
    let is_denied =
        |rule: &&&Rule| !rule.has_condition && rule.actions.meet(&action) && rule.resources.meet(&permission.resource);
    let denied_by = denies.iter().find(is_denied).map(|rule| rule.name.clone());
    let is_allowed =
        allows.iter().any(|rule| rule.actions.cover(&action) && rule.resources.cover(&permission.resource));
    (denied_by.is_some() || !is_allowed).then(|| Lacking { permission: permission.clone(), denied_by })
}

/// What `rule` grants beyond what is needed, action by action.
fn beyond(rule: &Rule, needed: &[Permission]) -> Vec<Beyond> {
    let found =
        |action: &str, reason: String| Beyond { statement: rule.name.clone(), action: action.to_owned(), reason };
    if rule.actions.all_but {
        return vec![found(&rule.written.join(", "), "it allows all actions but these (NotAction)".to_owned())];
    }
    let actions = rule.actions.listed.iter().zip(&rule.written);
    actions.filter_map(|(action, written)| Some(found(written, excess(rule, action, needed)?))).collect()
}

/// Why `action`, as it is granted, is more than is needed; `None` when it is not.
fn excess(rule: &Rule, action: &str, needed: &[Permission]) -> Option<String> {
    let used: Vec<&Permission> =
        needed.iter().filter(|permission| covers(action, &permission.action.to_ascii_lowercase())).collect();
    let mut actions: Vec<&str> = used.iter().map(|permission| permission.action.as_str()).collect();
    actions.dedup();
    if actions.is_empty() {
        return Some("it is not needed".to_owned());
    }
    if action.contains(['*', '?']) {
        actions.sort_unstable();
        actions.dedup();
        return Some(format!("only {} needed of it", counted(&actions)));
    }
    if rule.resources.all_but {
        return Some("it is allowed on all resources but those listed (NotResource)".to_owned());
    }
    let is_needed = |resource: &String| used.iter().any(|permission| covers(&permission.resource, resource));
    let wide: Vec<&str> = rule.resources.listed.iter().filter(|one| !is_needed(one)).map(String::as_str).collect();
    let resources: Vec<&str> = used.iter().map(|permission| permission.resource.as_str()).collect();
    (!wide.is_empty())
        .then(|| format!("it is allowed on {}, and needed on {} only", wide.join(", "), resources.join(", ")))
}

/// `a and b are`
fn counted(names: &[&str]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}
