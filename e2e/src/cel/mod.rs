//! Cases for comparing an engine of CEL with kube-apiserver: structural schemas with rules, and objects.
//!
//! The program in `e2e/cel` answers each case as kube-apiserver does: `cel-cases 0 1000 | cel rules`. Of a thousand answers
//! two or three depend on the order in which Go goes through a map, which is another one each time, and one is a panic of
//! cel-go, on an optional element without a type in a literal.

mod compare;
mod expressions;
mod referee;
mod schema;

use fastrand::Rng;
use serde_json::{Value, json};

pub use compare::differences;
use expressions::Scope;
pub use referee::{Questions, Referee};
use schema::{Shape, Type};

/// The case of a seed: a question of `cel rules`. Its `schema` has rules at some depth, most of which compile; `object`
/// mostly fits the schema, and so does `oldObject`, which may be null. `stored` says whether the schema is new.
#[must_use]
pub fn case(seed: u64) -> Value {
    let mut random = Rng::with_seed(seed);
    let mut root = Shape::root(&mut random);
    if !root.add_rules(&mut random, &mut Vec::new()) {
        root.rules = vec![root.rule(&mut random, true)];
    }
    let object = root.fitting(&mut random, None);
    let old = random.bool().then(|| root.fitting(&mut random, Some(&object)));
    json!({
        "schema": root.json(),
        "object": object,
        "oldObject": old,
        "stored": random.u8(..3) == 0,
    })
}

impl Shape {
    /// Adds rules to some of the schemas, or to none. `above` says for each schema around this one whether it correlates.
    fn add_rules(&mut self, random: &mut Rng, above: &mut Vec<bool>) -> bool {
        let deep = above.len();
        if self.has_type() && random.usize(..3 + 2 * deep) == 0 {
            let correlated = above.iter().all(|&correlated| correlated);
            let rules = 1 + random.usize(..3);
            self.rules = (0..rules).map(|_| self.rule(random, correlated)).collect();
        }
        let mut added = !self.rules.is_empty();
        above.push(self.correlates());
        for child in self.children_mut() {
            added |= child.add_rules(random, above);
        }
        above.pop();
        added
    }

    /// A rule on values of this shape; `correlated` if it may use `oldSelf`.
    fn rule(&self, random: &mut Rng, correlated: bool) -> Value {
        let uses_old = random.u8(..4) == 0 && (correlated || random.u8(..10) == 0);
        let optional = uses_old && random.u8(..3) == 0;
        let mut scope = Scope::new(random);
        scope.declare("self", self);
        let mut rule = json!({});
        if optional {
            scope.declare_type("oldSelf", Type::optional(&Type::of(self)));
            rule["optionalOldSelf"] = json!(true);
        } else if uses_old {
            scope.declare("oldSelf", self);
        }
        rule["rule"] = json!(scope.rule(uses_old));
        if scope.random.u8(..4) == 0 {
            rule["messageExpression"] = json!(scope.message());
        }
        // A rule of several lines must have a message.
        let lines = rule["rule"].as_str().is_some_and(|text| text.contains('\n'));
        if scope.random.u8(..6) == 0 || lines && scope.random.u8(..10) > 0 {
            rule["message"] = json!(*scope.random.choice(MESSAGES).unwrap_or(&""));
        }
        if scope.random.u8(..8) == 0 {
            rule["reason"] = json!(*scope.random.choice(REASONS).unwrap_or(&""));
        }
        if scope.random.u8(..8) == 0
            && let Some(name) = self.field_name(scope.random)
        {
            rule["fieldPath"] =
                json!(if scope.random.bool() { format!(".{name}") } else { format!("['{name}']") });
        }
        if scope.random.u8(..100) == 0 {
            rule["optionalOldSelf"] = json!(scope.random.bool());
        }
        rule
    }
}

const MESSAGES: &[&str] = &["must be so", " with spaces ", "größer", "100% \"quoted\""];
const REASONS: &[&str] =
    &["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"];

#[cfg(test)]
mod tests {
    use super::case;

    #[test]
    fn a_seed_always_gives_the_same_case() {
        for seed in 0..200 {
            assert_eq!(case(seed), case(seed));
            assert!(case(seed)["schema"].to_string().contains("x-kubernetes-validations"));
        }
    }
}
