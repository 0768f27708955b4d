//! Label selectors: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>3`.
//!
//! The grammar, its oddities and its errors are those of `k8s.io/apimachinery/pkg/labels/selector.go`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::Error;

/// Requirements on an object's labels, all of which must hold; without any it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// Also `=` and `==`.
    In,
    /// Also `!=`.
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// Parses the `labelSelector` of a request.
    ///
    /// # Errors
    /// With the message of kube-apiserver's 400, when it is not of that grammar or names an impossible label.
    pub fn parse(selector: &str) -> Result<Self, Error> {
        let requirements = Parser::new(selector).parse().map_err(Error)?;
        Ok(Self { requirements })
    }

    /// A `LabelSelector` of an object; none if it is not one.
    pub(crate) fn from_object(selector: &Value) -> Option<Self> {
        let equals = selector["matchLabels"].as_object().into_iter().flatten();
        let mut terms: Vec<String> =
            equals.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str()?;
            let values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let values = values.collect::<Vec<_>>();
            let listed = values.join(",");
            terms.push(match expression["operator"].as_str()? {
                "In" if !values.is_empty() => format!("{key} in ({listed})"),
                "NotIn" if !values.is_empty() => format!("{key} notin ({listed})"),
                "Exists" if values.is_empty() => key.to_owned(),
                "DoesNotExist" if values.is_empty() => format!("!{key}"),
                _ => return None,
            });
        }
        Self::parse(&terms.join(",")).ok()
    }

    /// Whether it selects everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these `metadata.labels` (none: no labels) is selected.
    pub(crate) fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.requirements.iter().all(|requirement| {
            requirement.matches(labels.and_then(|labels| labels.get(&requirement.key)?.as_str()))
        })
    }
}

impl Requirement {
    fn matches(&self, label: Option<&str>) -> bool {
        match self.operator {
            Operator::In => label.is_some_and(|label| self.values.contains(label)),
            Operator::NotIn => label.is_none_or(|label| !self.values.contains(label)),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compare(label).is_some_and(|(label, bound)| label > bound),
            Operator::LessThan => self.compare(label).is_some_and(|(label, bound)| label < bound),
        }
    }

    /// The label and the bound as numbers; a label that is none never matches.
    fn compare(&self, label: Option<&str>) -> Option<(i64, i64)> {
        Some((label?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

/// A requirement, checked as `labels.NewRequirement` does.
fn requirement(key: String, operator: Operator, values: BTreeSet<String>) -> Result<Requirement, String> {
    let mut errors = Vec::new();
    let problems = key_problems(&key);
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
        let problems = value_problems(value);
        if !problems.is_empty() {
            errors.push(format!(
                "values[{index}][{key}]: Invalid value: {}: {}",
                quote(value),
                problems.join("; ")
            ));
        }
    }
    match errors.as_slice() {
        [] => Ok(Requirement { key, operator, values }),
        [error] => Err(error.clone()),
        errors => Err(format!("[{}]", errors.join(", "))),
    }
}

static NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$").ok());
static SUBDOMAIN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").ok());

fn is_match(regex: &LazyLock<Option<Regex>>, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

const NAME_MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
     (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// What is wrong with a label's key (`content.IsLabelKey`).
fn key_problems(key: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a valid label key {NAME_MESSAGE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > 253 {
                    problems.push("prefix part must be no more than 253 bytes".to_owned());
                }
                if !is_match(&SUBDOMAIN, prefix) {
                    problems.push(
                        "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                         and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                            .to_owned(),
                    );
                }
            }
            name
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_match(&NAME, name) {
        problems.push(format!("name part {NAME_MESSAGE}"));
    }
    problems
}

/// What is wrong with a label's value (`content.IsLabelValue`).
fn value_problems(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > 63 {
        problems.push("must be no more than 63 bytes".to_owned());
    }
    if !value.is_empty() && !is_match(&NAME, value) {
        problems.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
             with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    problems
}

/// A string as Go's `%q` prints it, which for what a selector holds is JSON's way.
fn quote(text: &str) -> String {
    Value::from(text).to_string()
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

/// Which tokens the place admits: `in` is a value in `x in (in)`.
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
        // The last token is `End`, and stays the answer.
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
        let problems = key_problems(&key);
        if !problems.is_empty() {
            return Err(format!("<nil>: Invalid value: {}: {}", quote(&key), problems.join("; ")));
        }
        // `!` decides: what follows it is left to the caller, who wants a comma there.
        if negated {
            return requirement(key, Operator::DoesNotExist, BTreeSet::new());
        }
        if matches!(self.lookahead(Context::Values).0, Token::End | Token::Comma) {
            return requirement(key, Operator::Exists, BTreeSet::new());
        }
        let (operator, values) = match self.consume(Context::KeyAndOperator) {
            (Token::In, _) => (Operator::In, self.values()?),
            (Token::NotIn, _) => (Operator::NotIn, self.values()?),
            (Token::Equals | Token::DoubleEquals, _) => (Operator::In, self.exact_value()?),
            (Token::NotEquals, _) => (Operator::NotIn, self.exact_value()?),
            (Token::GreaterThan, _) => (Operator::GreaterThan, self.exact_value()?),
            (Token::LessThan, _) => (Operator::LessThan, self.exact_value()?),
            (_, literal) => return Err(format!("found '{literal}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        requirement(key, operator, values)
    }

    /// `(x,y,z)`; an empty place is the empty value.
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

/// The longest operator at the start of `rest`, and its length.
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
            assert_eq!(parsed.matches(labels.as_object()), selected, "{selector}");
            assert_eq!(parsed.is_empty(), selector.is_empty(), "{selector}");
        }
        assert!(!LabelSelector::parse("a").unwrap().matches(None));
        assert!(LabelSelector::parse("!a").unwrap().matches(None));
    }

    /// The messages of a kube-apiserver 1.37.
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
            assert_eq!(LabelSelector::parse(selector), Err(Error(message.to_owned())), "{selector}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".*", tokens in "([a-c]|in|notin|[ =!(),<>]|==){0,20}") {
            for text in [text, tokens] {
                if let Ok(selector) = LabelSelector::parse(&text) {
                    selector.matches(json!({"a": "b"}).as_object());
                }
            }
        }

        #[test]
        fn equality_selects_exactly_the_equal(key in "[a-z]{1,3}", value in "[a-z0-9]{0,3}", other in "[a-z0-9]{0,3}") {
            let labels = json!({key.clone(): other.clone()});
            let equal = LabelSelector::parse(&format!("{key}={value}")).unwrap();
            let unequal = LabelSelector::parse(&format!("{key}!={value}")).unwrap();
            prop_assert_eq!(equal.matches(labels.as_object()), value == other);
            prop_assert_eq!(unequal.matches(labels.as_object()), value != other);
        }
    }
}
