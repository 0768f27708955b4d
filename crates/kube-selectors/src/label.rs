//! Label selectors: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>3`.
//!
//! The grammar, its quirks and its errors are those of `k8s.io/apimachinery/pkg/labels/selector.go`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;

use kube_validation::go::{aggregate, quote};
use kube_validation::names;
use serde_json::{Map, Value};

use crate::ParseError;

/// Requirements on an object's labels, all of which must hold. A selector without requirements selects everything.
///
/// Matching takes time linear in the number of requirements. [`Display`](fmt::Display) prints the selector as apimachinery
/// does, sorted by key; the printed text parses to the same selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// Sorted by key.
    requirements: Vec<Requirement>,
}

/// A set of labels that a [`LabelSelector`] can match.
pub trait Labels {
    /// Returns the value of a label, or `None` if the label does not exist.
    fn label(&self, key: &str) -> Option<&str>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// `=` and `==`
    Equals,
    /// `!=`
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// Parses the text of a `labelSelector` parameter or of `kubectl -l`. An empty text selects everything.
    ///
    /// # Errors
    /// Fails if the text does not follow the grammar, or has an invalid label key or value.
    pub fn parse(selector: &str) -> Result<Self, ParseError> {
        Parser::new(selector).parse().map(Self::of).map_err(ParseError)
    }

    /// Reads a `LabelSelector` of `meta/v1`: an object with `matchLabels` and `matchExpressions`. An empty object selects
    /// everything.
    ///
    /// `null` is refused: in Kubernetes it selects nothing, which no [`LabelSelector`] can express.
    ///
    /// # Errors
    /// Fails if `selector` is not an object, an operator or a type is wrong, or a label key or value is invalid.
    pub fn from_object(selector: &Value) -> Result<Self, ParseError> {
        let Value::Object(selector) = selector else {
            return Err(ParseError("a label selector must be an object".to_owned()));
        };
        let read = || {
            let mut requirements = Vec::new();
            for (key, value) in members(selector, "matchLabels")? {
                let value = value.as_str().ok_or_else(|| format!("the value of {key:?} must be a string"))?;
                requirements.push(requirement(
                    key.clone(),
                    Operator::Equals,
                    BTreeSet::from([value.to_owned()]),
                )?);
            }
            for expression in list(selector.get("matchExpressions"), "matchExpressions")? {
                let text = |field: &str| {
                    expression[field]
                        .as_str()
                        .ok_or_else(|| format!("{field} of an expression must be a string"))
                };
                let operator = match text("operator")? {
                    "In" => Operator::In,
                    "NotIn" => Operator::NotIn,
                    "Exists" => Operator::Exists,
                    "DoesNotExist" => Operator::DoesNotExist,
                    other => return Err(format!("{} is not a valid label selector operator", quote(other))),
                };
                let values = list(expression.get("values"), "values")?.iter();
                let values = values.map(|value| {
                    value.as_str().map(str::to_owned).ok_or_else(|| "values must be strings".to_owned())
                });
                requirements.push(requirement(
                    text("key")?.to_owned(),
                    operator,
                    values.collect::<Result<_, _>>()?,
                )?);
            }
            Ok(requirements)
        };
        read().map(Self::of).map_err(ParseError)
    }

    /// Returns whether it has no requirements, so that it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Returns whether an object with these labels is selected.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels.label(&requirement.key)))
    }

    fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements }
    }
}

impl FromStr for LabelSelector {
    type Err = ParseError;

    fn from_str(selector: &str) -> Result<Self, ParseError> {
        Self::parse(selector)
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl<S: AsRef<str>> Labels for BTreeMap<String, S> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }
}

impl<S: AsRef<str>, H: BuildHasher> Labels for HashMap<String, S, H> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }
}

/// `metadata.labels` as JSON; values that are not strings count as absent.
impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

/// `None` stands for an object without labels.
impl<L: Labels + ?Sized> Labels for Option<&L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref()?.label(key)
    }
}

impl Requirement {
    fn matches(&self, label: Option<&str>) -> bool {
        match self.operator {
            Operator::Equals | Operator::In => label.is_some_and(|label| self.values.contains(label)),
            Operator::NotEquals | Operator::NotIn => label.is_none_or(|label| !self.values.contains(label)),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compare(label).is_some_and(|(label, bound)| label > bound),
            Operator::LessThan => self.compare(label).is_some_and(|(label, bound)| label < bound),
        }
    }

    /// Parses the label and the bound as integers. A label that is not an integer never matches.
    fn compare(&self, label: Option<&str>) -> Option<(i64, i64)> {
        Some((label?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = || self.values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let key = &self.key;
        match self.operator {
            Operator::Equals => write!(f, "{key}={}", values()),
            Operator::NotEquals => write!(f, "{key}!={}", values()),
            Operator::In => write!(f, "{key} in ({})", values()),
            Operator::NotIn => write!(f, "{key} notin ({})", values()),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{}", values()),
            Operator::LessThan => write!(f, "{key}<{}", values()),
        }
    }
}

/// Creates a requirement, with the checks of `labels.NewRequirement`.
fn requirement(key: String, operator: Operator, values: BTreeSet<String>) -> Result<Requirement, String> {
    let mut errors = Vec::new();
    let problems = names::qualified_name(&key);
    if !problems.is_empty() {
        errors.push(format!("key: Invalid value: {}: {}", quote(&key), problems.join("; ")));
    }
    let list = || {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        Value::from(values).to_string()
    };
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            errors.push(
                "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
                    .to_owned(),
            );
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => errors.push(format!(
            "values: Invalid value: {}: values set must be empty for exists and does not exist",
            list()
        )),
        Operator::GreaterThan | Operator::LessThan => {
            for value in values.iter().filter(|value| value.parse::<i64>().is_err()) {
                errors.push(format!(
                    "values[0]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
                    quote(value)
                ));
            }
        }
        _ => {}
    }
    for (index, value) in values.iter().enumerate() {
        let problems = names::label_value(value);
        if !problems.is_empty() {
            errors.push(format!(
                "values[{index}][{key}]: Invalid value: {}: {}",
                quote(value),
                problems.join("; ")
            ));
        }
    }
    if errors.is_empty() { Ok(Requirement { key, operator, values }) } else { Err(aggregate(&errors)) }
}

/// Returns the members of an object's field, which may be absent or null.
fn members<'a>(
    object: &'a Map<String, Value>,
    field: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, String> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None.into_iter().flatten()),
        Some(Value::Object(members)) => Ok(Some(members).into_iter().flatten()),
        Some(_) => Err(format!("{field} must be an object")),
    }
}

/// Returns the items of a list, which may be absent or null.
fn list<'a>(value: Option<&'a Value>, field: &str) -> Result<&'a [Value], String> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{field} must be a list")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Error,
    End,
    ClosePar,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    GreaterThan,
    Identifier,
    In,
    LessThan,
    NotEquals,
    NotIn,
    OpenPar,
}

/// The tokens that a position admits: in `x in (in)`, the second `in` is a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    KeyAndOperator,
    Values,
}

struct Parser {
    /// Ends with `End`.
    tokens: Vec<(Token, String)>,
    position: usize,
}

impl Parser {
    fn new(selector: &str) -> Self {
        Self { tokens: scan(selector), position: 0 }
    }

    fn lookahead(&self, context: Context) -> (Token, String) {
        // The last token is `End`; it is repeated past the end.
        let (token, literal) = self.tokens.get(self.position).cloned().unwrap_or((Token::End, String::new()));
        match token {
            Token::In | Token::NotIn if context == Context::Values => (Token::Identifier, literal),
            token => (token, literal),
        }
    }

    fn consume(&mut self, context: Context) -> (Token, String) {
        let token = self.lookahead(context);
        self.position += 1;
        token
    }

    fn parse(mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            let (token, literal) = self.lookahead(Context::Values);
            match token {
                Token::Identifier | Token::Not => {
                    let requirement = self
                        .requirement()
                        .map_err(|error| format!("unable to parse requirement: {error}"))?;
                    requirements.push(requirement);
                    match self.consume(Context::Values) {
                        (Token::End, _) => return Ok(requirements),
                        (Token::Comma, _) => {
                            let (next, literal) = self.lookahead(Context::Values);
                            if !matches!(next, Token::Identifier | Token::Not) {
                                return Err(format!("found '{literal}', expected: identifier after ','"));
                            }
                        }
                        (_, literal) => {
                            return Err(format!("found '{literal}', expected: ',' or 'end of string'"));
                        }
                    }
                }
                Token::End => return Ok(requirements),
                _ => return Err(format!("found '{literal}', expected: !, identifier, or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.consume(Context::Values);
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.consume(Context::Values);
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let problems = names::qualified_name(&key);
        if !problems.is_empty() {
            return Err(format!("<nil>: Invalid value: {}: {}", quote(&key), problems.join("; ")));
        }
        // `!` decides: the rest is left to the caller, which expects a comma.
        if negated {
            return requirement(key, Operator::DoesNotExist, BTreeSet::new());
        }
        if matches!(self.lookahead(Context::Values).0, Token::End | Token::Comma) {
            return requirement(key, Operator::Exists, BTreeSet::new());
        }
        let (operator, values) = match self.consume(Context::KeyAndOperator) {
            (Token::In, _) => (Operator::In, self.values()?),
            (Token::NotIn, _) => (Operator::NotIn, self.values()?),
            (Token::Equals | Token::DoubleEquals, _) => (Operator::Equals, self.exact_value()?),
            (Token::NotEquals, _) => (Operator::NotEquals, self.exact_value()?),
            (Token::GreaterThan, _) => (Operator::GreaterThan, self.exact_value()?),
            (Token::LessThan, _) => (Operator::LessThan, self.exact_value()?),
            (_, literal) => return Err(format!("found '{literal}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        requirement(key, operator, values)
    }

    /// Parses `(x,y,z)`; nothing between two commas is the empty value.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let (token, literal) = self.consume(Context::Values);
        if token != Token::OpenPar {
            return Err(format!("found '{literal}' expected: '('"));
        }
        let (token, literal) = self.lookahead(Context::Values);
        match token {
            Token::Identifier | Token::Comma => {
                let values = self.identifiers()?;
                match self.consume(Context::Values).0 {
                    Token::ClosePar => Ok(values),
                    _ => Err(format!("found '{literal}', expected: ')'")),
                }
            }
            Token::ClosePar => {
                self.consume(Context::Values);
                Ok(BTreeSet::from([String::new()]))
            }
            _ => Err(format!("found '{literal}', expected: ',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            let (token, literal) = self.consume(Context::Values);
            let (next, next_literal) = self.lookahead(Context::Values);
            match token {
                Token::Identifier => {
                    values.insert(literal);
                    match next {
                        Token::Comma => {}
                        Token::ClosePar => return Ok(values),
                        _ => return Err(format!("found '{next_literal}', expected: ',' or ')'")),
                    }
                }
                Token::Comma => {
                    if values.is_empty() || matches!(next, Token::ClosePar | Token::Comma) {
                        values.insert(String::new());
                    }
                    if next == Token::ClosePar {
                        return Ok(values);
                    }
                }
                _ => return Err(format!("found '{literal}', expected: ',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>, String> {
        if matches!(self.lookahead(Context::Values).0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.consume(Context::Values) {
            (Token::Identifier, literal) => Ok(BTreeSet::from([literal])),
            (_, literal) => Err(format!("found '{literal}', expected: identifier")),
        }
    }
}

fn scan(selector: &str) -> Vec<(Token, String)> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut tokens = Vec::new();
    let mut rest = selector.trim_start_matches(is_space);
    while !rest.is_empty() {
        let (token, literal, length) = if rest.starts_with(is_special) {
            special(rest)
        } else {
            let length = rest.find(|c| is_special(c) || is_space(c)).unwrap_or(rest.len());
            let literal = &rest[..length];
            let token = match literal {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Identifier,
            };
            (token, literal.to_owned(), length)
        };
        tokens.push((token, literal));
        rest = rest[length..].trim_start_matches(is_space);
    }
    tokens.push((Token::End, String::new()));
    tokens
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

/// Returns the longest operator at the start of `rest`, and its length.
fn special(rest: &str) -> (Token, String, usize) {
    const OPERATORS: [(&str, Token); 9] = [
        ("==", Token::DoubleEquals),
        ("!=", Token::NotEquals),
        ("=", Token::Equals),
        ("!", Token::Not),
        ("(", Token::OpenPar),
        (")", Token::ClosePar),
        (",", Token::Comma),
        (">", Token::GreaterThan),
        ("<", Token::LessThan),
    ];
    OPERATORS.iter().find(|(literal, _)| rest.starts_with(literal)).map_or_else(
        || (Token::Error, rest.to_owned(), rest.len()),
        |(literal, token)| (*token, (*literal).to_owned(), literal.len()),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn selects_as_kube_apiserver_does() {
        let labels = json!({"app": "web", "tier": "front", "n": "5", "empty": ""});
        for (selector, selected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app=web,tier=back", false),
            ("app in (web,api),tier notin (back)", true),
            ("app in (api)", false),
            ("missing notin (x)", true),
            ("missing!=x", true),
            ("app", true),
            ("!app", false),
            ("!missing", true),
            ("n>4,n<6", true),
            ("n>5", false),
            ("app>1", false),
            ("empty=", true),
            ("empty in ()", true),
            ("empty in (a,)", true),
            ("empty in (a,,b)", true),
            ("app in (in, notin, web)", true),
            (" app =\tweb ", true),
        ] {
            let parsed = LabelSelector::parse(selector).unwrap_or_else(|error| panic!("{selector}: {error}"));
            assert_eq!(parsed.matches(&labels.as_object()), selected, "{selector}");
            assert_eq!(parsed.is_empty(), selector.is_empty(), "{selector}");
        }
        assert!(!LabelSelector::parse("a").unwrap().matches(&None::<&Map<String, Value>>));
        assert!(LabelSelector::parse("!a").unwrap().matches(&None::<&Map<String, Value>>));
    }

    /// The expected messages are those of kube-apiserver 1.37.
    #[test]
    fn words_errors_as_kube_apiserver_does() {
        let name = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
        for (selector, message) in [
            ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            ("a in x", "unable to parse requirement: found 'x' expected: '('"),
            ("a,,b", "found ',', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a!b", "unable to parse requirement: found '!', expected: in, notin, =, ==, !=, gt, lt"),
            ("=", "found '=', expected: !, identifier, or 'end of string'"),
            ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a in", "unable to parse requirement: found '' expected: '('"),
            ("a==b=c", "found '=', expected: ',' or 'end of string'"),
            ("a=b)", "found ')', expected: ',' or 'end of string'"),
            ("-a=b", &format!("unable to parse requirement: <nil>: Invalid value: \"-a\": name part {name}")),
            (
                "a/b/c=d",
                &format!(
                    "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key {name} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
                ),
            ),
            (
                "a=-b",
                "unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
        ] {
            assert_eq!(LabelSelector::parse(selector), Err(ParseError(message.to_owned())), "{selector}");
        }
    }

    /// Regression test: the selector used to be printed and parsed again, so a value with a comma selected by another
    /// label.
    #[test]
    fn an_objects_selector_is_taken_as_it_stands() {
        for (selector, prints) in [
            (json!({}), ""),
            (json!({"matchLabels": null, "matchExpressions": null}), ""),
            (json!({"matchLabels": {"b": "1", "a": ""}}), "a=,b=1"),
            (
                json!({"matchExpressions": [
                    {"key": "x", "operator": "In", "values": ["b", "a"]},
                    {"key": "y", "operator": "NotIn", "values": ["a"]},
                    {"key": "z", "operator": "Exists"},
                    {"key": "w", "operator": "DoesNotExist", "values": []},
                ]}),
                "!w,x in (a,b),y notin (a),z",
            ),
        ] {
            assert_eq!(LabelSelector::from_object(&selector).unwrap().to_string(), prints);
        }
        for refused in [
            json!(null),
            json!("a=b"),
            json!({"matchLabels": {"a": "b,c"}}),
            json!({"matchLabels": {"a": "b)"}}),
            json!({"matchLabels": {"a": 1}}),
            json!({"matchLabels": {"a=b,c": "d"}}),
            json!({"matchLabels": ["a"]}),
            json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b,c"]}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "In", "values": [1]}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
            json!({"matchExpressions": [{"key": "a in (b),c", "operator": "Exists"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}),
            json!({"matchExpressions": [{"operator": "Exists"}]}),
            json!({"matchExpressions": {}}),
        ] {
            assert!(LabelSelector::from_object(&refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn labels_come_in_any_map() {
        let selector: LabelSelector = "app=web".parse().unwrap();
        assert!(selector.matches(&BTreeMap::from([("app".to_owned(), "web".to_owned())])));
        assert!(selector.matches(&HashMap::from([("app".to_owned(), "web")])));
        assert!(!selector.matches(&json!({"app": 1}).as_object()));
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".*", tokens in "([a-c]|in|notin|[ =!(),<>]|==){0,20}") {
            for text in [text, tokens] {
                if let Ok(selector) = LabelSelector::parse(&text) {
                    selector.matches(&json!({"a": "b"}).as_object());
                    assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
                }
            }
        }

        #[test]
        fn equality_selects_exactly_the_equal(key in "[a-z]{1,3}", value in "[a-z0-9]{0,3}", other in "[a-z0-9]{0,3}") {
            let labels = json!({key.clone(): other.clone()});
            let equal = LabelSelector::parse(&format!("{key}={value}")).unwrap();
            let unequal = LabelSelector::parse(&format!("{key}!={value}")).unwrap();
            prop_assert_eq!(equal.matches(&labels.as_object()), value == other);
            prop_assert_eq!(unequal.matches(&labels.as_object()), value != other);
        }
    }
}
