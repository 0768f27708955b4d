//! Expressions that mostly have the wanted type, from templates.

use fastrand::Rng;

use super::schema::{Shape, Type};

/// What an expression can refer to.
pub(super) struct Scope<'a, 'r> {
    pub(super) random: &'r mut Rng,
    paths: Vec<Path>,
    /// Schemas of objects, by the names of their types.
    objects: Vec<(Type, &'a Shape)>,
    variables: usize,
    /// In how many of a thousand places something of another type is put.
    wrong: u16,
}

/// A variable or a field, as it is written.
#[derive(Clone)]
struct Path {
    text: String,
    typed: Type,
    nullable: bool,
    is_field: bool,
}

impl<'a, 'r> Scope<'a, 'r> {
    pub(super) fn new(random: &'r mut Rng) -> Self {
        // Most rules have no error, so that a few have several.
        let wrong = if random.u8(..5) == 0 { 120 } else { 0 };
        Self { random, paths: Vec::new(), objects: Vec::new(), variables: 0, wrong }
    }

    /// Declares a variable whose values are those of a schema, and everything that can be reached by it.
    pub(super) fn declare(&mut self, name: &str, shape: &'a Shape) {
        self.add(name.to_owned(), shape, false, 0);
    }

    pub(super) fn declare_type(&mut self, name: &str, typed: Type) {
        let shape = self.objects.iter().find(|(known, _)| *known == typed).map(|(_, shape)| *shape);
        match shape {
            Some(shape) => self.add(name.to_owned(), shape, false, 0),
            None => self.paths.push(Path { text: name.to_owned(), typed, nullable: false, is_field: false }),
        }
    }

    fn add(&mut self, text: String, shape: &'a Shape, is_field: bool, depth: u8) {
        self.learn(shape);
        if depth > 3 || !shape.has_type() {
            return;
        }
        for field in shape.fields() {
            if let Some(name) = self.written(&field.name) {
                self.add(format!("{text}.{name}"), &field.shape, true, depth + 1);
            }
        }
        if shape.is_embedded() {
            for name in ["apiVersion", "kind", "metadata.name"] {
                let (text, typed) = (format!("{text}.{name}"), Type::new("string"));
                self.paths.push(Path { text, typed, nullable: false, is_field: true });
            }
        }
        self.paths.push(Path { text, typed: Type::of(shape), nullable: shape.is_nullable(), is_field });
    }

    /// A field's name as it is written in CEL, if it can be. A keyword needs no escape, unless it is a literal or an operator.
    fn written(&mut self, name: &str) -> Option<String> {
        let escaped = escape(name)?;
        let is_free = escaped == format!("__{name}__") && !["true", "false", "null", "in"].contains(&name);
        Some(if is_free && self.random.bool() { name.to_owned() } else { escaped })
    }

    /// Remembers the objects within a schema.
    fn learn(&mut self, shape: &'a Shape) {
        let typed = Type::of(shape);
        if !shape.fields().is_empty() && self.objects.iter().all(|(known, _)| *known != typed) {
            self.objects.push((typed, shape));
        }
        if let Some(element) = shape.element() {
            self.learn(element);
        }
    }

    /// A rule, which mentions `oldSelf` if it is a transition rule.
    pub(super) fn rule(&mut self, transition: bool) -> String {
        let mut text = self.expression(&Type::new("bool"), 3);
        if transition && !text.contains("oldSelf") {
            text = format!("{text} || {}", self.transition());
        }
        match self.random.u8(..150) {
            0 => self.damaged(&text),
            1 => format!("{text} // a comment"),
            2 => format!("  {text} "),
            3 => self.expression(&Type::new("int"), 2),
            _ => text,
        }
    }

    fn transition(&mut self) -> String {
        let optional = self
            .paths
            .iter()
            .any(|path| path.text == "oldSelf" && path.typed.0.starts_with("optional_type("));
        if optional {
            return [
                "oldSelf.hasValue()",
                "oldSelf.orValue(self) == self",
                "oldSelf.value() == self",
                "oldSelf.optMap(o, o == self).orValue(true)",
            ][self.random.usize(..4)]
            .to_owned();
        }
        let both: Vec<_> =
            self.paths.iter().filter(|path| path.text.starts_with("oldSelf")).cloned().collect();
        let old = both.get(self.random.usize(..both.len().max(1))).map_or("oldSelf", |path| &path.text);
        let new = old.replacen("oldSelf", "self", 1);
        let operator = ["==", "!=", "=="][self.random.usize(..3)];
        format!("{old} {operator} {new}")
    }

    /// A messageExpression.
    pub(super) fn message(&mut self) -> String {
        match self.random.u8(..12) {
            0 => self.expression(&Type::new("int"), 1),
            1 => "''".to_owned(),
            2 => "'a\\nb'".to_owned(),
            _ => format!("'wrong: ' + {}", self.expression(&Type::new("string"), 2)),
        }
    }

    /// Removes, doubles or replaces a character.
    fn damaged(&mut self, text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        let at = self.random.usize(..chars.len());
        match self.random.u8(..3) {
            0 => drop(chars.remove(at)),
            1 => chars.insert(at, chars[at]),
            _ => chars[at] = ['(', ']', '\'', '.', '?', 'é', '&', '0'][self.random.usize(..8)],
        }
        chars.into_iter().collect()
    }

    fn expression(&mut self, typed: &Type, depth: u8) -> String {
        if self.random.u16(..1000) < self.wrong {
            let other = *self.random.choice(BASIC).unwrap_or(&"dyn");
            return self.leaf(&Type::new(other));
        }
        if let Some((_, base)) = PURPOSES.iter().find(|(purpose, _)| *purpose == typed.0) {
            return if self.random.u8(..6) > 0 { self.leaf(typed) } else { self.leaf(&Type::new(base)) };
        }
        if depth > 0
            && self.random.u8(..8) > 0
            && let Some(template) = self.template(typed)
        {
            return self.fill(template, typed, depth);
        }
        self.leaf(typed)
    }

    fn template(&mut self, typed: &Type) -> Option<&'static str> {
        let text = typed.0.as_str();
        // Only paths have the types of objects.
        if text.starts_with("object") || text == "field" || text == "nullable" {
            return None;
        }
        if self.random.u8(..6) == 0 {
            return self.random.choice(ANY).copied();
        }
        let found: Vec<_> = TEMPLATES
            .iter()
            .filter(|(result, _)| matches(result, text))
            .flat_map(|(_, templates)| *templates)
            .collect();
        self.random.choice(found).copied()
    }

    /// Replaces `#type#` by expressions of the type, and `@type@` by a new variable for what follows. `T` is a type; if the
    /// template's result has parameters, it is the wanted one.
    fn fill(&mut self, template: &str, wanted: &Type, depth: u8) -> String {
        let known = self.paths.len();
        let any = self.parameter(template, wanted);
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['#', '@']) {
            let mark = &rest[at..=at];
            text.push_str(&rest[..at]);
            let Some((hole, after)) = rest[at + 1..].split_once(mark) else { break };
            let typed = Type(hole.replace('W', &wanted.0).replace('T', &any.0));
            if mark == "@" {
                self.variables += 1;
                let name = format!("v{}", self.variables);
                text.push_str(&name);
                self.declare_type(&name, typed);
            } else {
                text.push_str(&self.expression(&typed, depth - 1));
            }
            rest = after;
        }
        text.push_str(rest);
        self.paths.truncate(known);
        if is_operator(template) && self.random.u8(..6) > 0 { format!("({text})") } else { text }
    }

    /// What `T` is in a template.
    fn parameter(&mut self, template: &str, wanted: &Type) -> Type {
        let inner = |open: &str| wanted.0.strip_prefix(open).and_then(|text| text.strip_suffix(')'));
        if let Some(element) = inner("list(").or_else(|| inner("optional_type(")) {
            return Type::new(element);
        }
        if let Some(value) = inner("map(string, ") {
            return Type::new(value);
        }
        let (before, after) =
            if template.contains("#map(string, T)#") { ("map(string, ", ")") } else { ("list(", ")") };
        let elements: Vec<Type> = self
            .paths
            .iter()
            .filter_map(|path| path.typed.0.strip_prefix(before)?.strip_suffix(after).map(Type::new))
            .collect();
        match self.random.choice(&elements) {
            Some(element) if self.random.u8(..4) > 0 => element.clone(),
            _ => Type::new(self.random.choice(BASIC).unwrap_or(&"int")),
        }
    }

    /// A path of the type, or a literal.
    fn leaf(&mut self, typed: &Type) -> String {
        let found: Vec<_> = self.paths.iter().filter(|path| path.typed == *typed).cloned().collect();
        if let Some(path) = self.random.choice(&found)
            && self.random.u8(..4) > 0
        {
            return self.accessed(path.clone());
        }
        self.literal(typed)
    }

    fn accessed(&mut self, path: Path) -> String {
        let Path { text, typed, .. } = &path;
        if !path.is_field || self.random.u8(..5) > 0 {
            return path.text;
        }
        let (above, name) = text.rsplit_once('.').unwrap_or((text, ""));
        match self.random.u8(..4) {
            0 => {
                let other = self.literal(typed);
                format!("(has({text}) ? {text} : {other})")
            }
            1 if !above.is_empty() => {
                let other = self.literal(typed);
                format!("{above}.?{name}.orValue({other})")
            }
            _ => path.text,
        }
    }

    fn literal(&mut self, typed: &Type) -> String {
        let text = typed.0.as_str();
        if let Some((_, literals)) = LITERALS.iter().find(|(name, _)| *name == text) {
            return (*self.random.choice(*literals).unwrap_or(&"")).to_owned();
        }
        let inner =
            |open: &str| text.strip_prefix(open).and_then(|text| text.strip_suffix(')')).map(Type::new);
        if text == "field" || text == "nullable" {
            let found: Vec<_> = self
                .paths
                .iter()
                .filter(|path| if text == "field" { path.is_field } else { path.nullable })
                .collect();
            let none = if text == "field" { "{'a': 1}.a" } else { "dyn(self)" };
            return self.random.choice(found).map_or_else(|| none.to_owned(), |path| path.text.clone());
        }
        if let Some(element) = inner("list(") {
            let length = self.random.usize(..4);
            let elements: Vec<_> = (0..length).map(|_| self.leaf(&element)).collect();
            return format!("[{}]", elements.join(", "));
        }
        if let Some(value) = inner("map(string, ") {
            let length = self.random.usize(..3);
            let entries: Vec<_> =
                ["'a'", "'b'"][..length].iter().map(|key| format!("{key}: {}", self.leaf(&value))).collect();
            return format!("{{{}}}", entries.join(", "));
        }
        if let Some(value) = inner("optional_type(") {
            let fields: Vec<_> =
                self.paths.iter().filter(|path| path.is_field && path.typed == value).collect();
            if let Some((above, name)) =
                self.random.choice(fields).and_then(|path| path.text.rsplit_once('.'))
            {
                return format!("{above}.?{name}");
            }
            return match self.random.u8(..3) {
                0 => "optional.none()".to_owned(),
                1 => format!("optional.ofNonZeroValue({})", self.leaf(&value)),
                _ => format!("optional.of({})", self.leaf(&value)),
            };
        }
        // An object: only paths have its type.
        let found: Vec<_> = self.paths.iter().filter(|path| path.typed == *typed).collect();
        self.random.choice(found).map_or_else(|| "self".to_owned(), |path| path.text.clone())
    }
}

/// Whether a template's result, which may have the parameter `T`, is this type.
fn matches(result: &str, typed: &str) -> bool {
    match result.split_once('T') {
        Some((before, after)) => typed.starts_with(before) && typed.ends_with(after),
        None => result == typed,
    }
}

/// Whether a template is one of an operator, which is mostly put in parentheses.
fn is_operator(template: &str) -> bool {
    let (mut depth, mut in_hole) = (0_u8, false);
    template.starts_with(['!', '-'])
        || template.chars().any(|c| {
            match c {
                '#' | '@' => in_hole = !in_hole,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ' ' && depth == 0 && !in_hole
        })
}

/// A field's name as it is written in CEL, if it can be. This is not k8s-cel's, which the expressions test.
fn escape(name: &str) -> Option<String> {
    const RESERVED: &[&str] = &[
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let starts = name.chars().next()?;
    if starts.is_ascii_digit()
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_./-$".contains(c))
        || name.contains('$')
    {
        return None;
    }
    let mut escaped = name.replace("__", "__underscores__");
    for (from, to) in [(".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")] {
        escaped = escaped.replace(from, to);
    }
    Some(escaped)
}

const BASIC: &[&str] =
    &["int", "string", "bool", "double", "string", "int", "duration", "timestamp", "bytes", "uint", "dyn"];

/// What texts and numbers are for, each with its type.
const PURPOSES: &[(&str, &str)] = &[
    ("index", "int"),
    ("key", "string"),
    ("regex", "string"),
    ("zone", "string"),
    ("bool_text", "string"),
    ("number_text", "string"),
    ("duration_text", "string"),
    ("timestamp_text", "string"),
    ("url_text", "string"),
    ("ip_text", "string"),
    ("cidr_text", "string"),
    ("quantity_text", "string"),
    ("semver_text", "string"),
    ("format_name", "string"),
    ("format_text", "string"),
];

/// For any wanted type `W`.
const ANY: &[&str] = &[
    "#bool# ? #W# : #W#",
    "#list(W)#[#index#]",
    "#map(string, W)#[#key#]",
    "#optional_type(W)#.orValue(#W#)",
    "#optional_type(W)#.value()",
    "#list(W)#.first().orValue(#W#)",
    "#list(W)#.last().value()",
    "[#W#, #W#][0]",
    "dyn(#W#)",
];

/// Templates by the type of their result.
const TEMPLATES: &[(&str, &[&str])] = &[
    (
        "bool",
        &[
            "!#bool#",
            "#bool# && #bool#",
            "#bool# || #bool#",
            "#bool# && #bool# && #bool#",
            "#bool# || #bool# || #bool#",
            "#bool# == #bool#",
            "#int# < #int#",
            "#int# <= #int#",
            "#int# > #int#",
            "#int# >= #int#",
            "#int# == #int#",
            "#int# != #int#",
            "#int# < #double#",
            "#uint# <= #int#",
            "#double# > #double#",
            "#double# >= #int#",
            "#uint# == #uint#",
            "#double# == #double#",
            "#string# == #string#",
            "#string# < #string#",
            "#string# != #string#",
            "#bytes# == #bytes#",
            "#bytes# < #bytes#",
            "#bool# < #bool#",
            "#duration# < #duration#",
            "#duration# == #duration#",
            "#timestamp# >= #timestamp#",
            "#timestamp# == #timestamp#",
            "has(#field#)",
            "has(#field#)",
            "has(#field#) && #bool#",
            "!has(#field#) || #bool#",
            "#nullable# == null",
            "#nullable# != null",
            "#T# in #list(T)#",
            "#string# in #map(string, T)#",
            "#list(T)# == #list(T)#",
            "#list(T)# != #list(T)#",
            "#map(string, T)# == #map(string, T)#",
            "#list(T)#.all(@T@, #bool#)",
            "#list(T)#.all(@T@, #bool#)",
            "#list(T)#.exists(@T@, #bool#)",
            "#list(T)#.exists(@T@, #bool#)",
            "#list(T)#.exists_one(@T@, #bool#)",
            "#map(string, T)#.all(@string@, #bool#)",
            "#map(string, T)#.exists(@string@, #bool#)",
            "#map(string, T)#.all(@string@, @T@, #bool#)",
            "#map(string, T)#.exists(@string@, @T@, #bool#)",
            "#list(T)#.all(@int@, @T@, #bool#)",
            "#list(T)#.exists(@int@, @T@, #bool#)",
            "#list(T)#.existsOne(@int@, @T@, #bool#)",
            "#list(T)#.exists_one(@int@, @T@, #bool#)",
            "#string#.startsWith(#string#)",
            "#string#.endsWith(#string#)",
            "#string#.contains(#string#)",
            "#string#.matches(#regex#)",
            "matches(#string#, #regex#)",
            "bool(#bool_text#)",
            "#list(int)#.isSorted()",
            "#list(string)#.isSorted()",
            "#list(double)#.isSorted()",
            "#list(duration)#.isSorted()",
            "sets.contains(#list(T)#, #list(T)#)",
            "sets.equivalent(#list(T)#, #list(T)#)",
            "sets.intersects(#list(T)#, #list(T)#)",
            "#list(T)#.includes(#T#)",
            "isURL(#url_text#)",
            "url(#url_text#) == url(#url_text#)",
            "isIP(#ip_text#)",
            "ip(#ip_text#) == ip(#ip_text#)",
            "ip.isCanonical(#ip_text#)",
            "#ip#.isUnspecified()",
            "#ip#.isLoopback()",
            "#ip#.isGlobalUnicast()",
            "#ip#.isLinkLocalUnicast()",
            "#ip#.isLinkLocalMulticast()",
            "isCIDR(#cidr_text#)",
            "#cidr#.containsIP(#ip#)",
            "#cidr#.containsIP(#ip_text#)",
            "#cidr#.containsCIDR(#cidr#)",
            "#cidr#.containsCIDR(#cidr_text#)",
            "#cidr# == #cidr#.masked()",
            "isQuantity(#quantity_text#)",
            "#quantity#.isInteger()",
            "#quantity#.isGreaterThan(#quantity#)",
            "#quantity#.isLessThan(#quantity#)",
            "#quantity# == #quantity#",
            "isSemver(#semver_text#)",
            "isSemver(#semver_text#, #bool#)",
            "#semver#.isLessThan(#semver#)",
            "#semver#.isGreaterThan(#semver#)",
            "#semver# == #semver#",
            "#format#.validate(#string#).hasValue()",
            "!#format#.validate(#string#).hasValue()",
            "format.named(#format_name#).hasValue()",
            "#optional_type(T)#.hasValue()",
            "#optional_type(T)# == #optional_type(T)#",
            "#optional_type(T)#.optMap(@T@, #bool#).orValue(#bool#)",
            "#dyn# == #int#",
            "#dyn# == #string#",
            "type(#dyn#) == int",
            "type(#dyn#) == string ? #dyn# == '5' : #dyn# == 5",
            "type(#T#) == type(#T#)",
            "#list(T)#.size() > 0",
            "size(#map(string, T)#) <= #int#",
            "#string#.find(#regex#) != ''",
            "#list(T)#.map(@T@, #string#).exists(@string@, #bool#)",
            "#list(T)#.filter(@T@, #bool#).size() == #int#",
            "[#T#, #T#] == #list(T)#",
            "type(#int#) in [int, uint]",
            "#int# in [1, 2, 3]",
            "#string# in ['a', 'b', '']",
            "[1, 2].exists(@int@, #list(T)#.all(@T@, #bool#))",
            "dyn(#T#) == dyn(#T#)",
            "#list(T)#.all(@T@, #list(T)#.exists_one(@T@, #bool#))",
            "['a', 1, 2.5].exists(@dyn@, #bool#)",
            "{'a': 1, 'b': 'c'}.size() == 2",
            "#string#.size() > 100 / #int#",
        ],
    ),
    (
        "int",
        &[
            "#int# + #int#",
            "#int# - #int#",
            "#int# * #int#",
            "#int# / #int#",
            "#int# % #int#",
            "-#int#",
            "size(#string#)",
            "#string#.size()",
            "size(#bytes#)",
            "#bytes#.size()",
            "size(#list(T)#)",
            "#list(T)#.size()",
            "size(#map(string, T)#)",
            "#map(string, T)#.size()",
            "int(#double#)",
            "int(#number_text#)",
            "int(#uint#)",
            "int(#timestamp#)",
            "int(#int#)",
            "int(#dyn#)",
            "#string#.indexOf(#string#)",
            "#string#.indexOf(#string#, #index#)",
            "#string#.lastIndexOf(#string#)",
            "#string#.lastIndexOf(#string#, #index#)",
            "#list(T)#.indexOf(#T#)",
            "#list(T)#.lastIndexOf(#T#)",
            "#list(int)#.sum()",
            "#list(int)#.min()",
            "#list(int)#.max()",
            "#timestamp#.getFullYear()",
            "#timestamp#.getFullYear(#zone#)",
            "#timestamp#.getMonth()",
            "#timestamp#.getMonth(#zone#)",
            "#timestamp#.getDate()",
            "#timestamp#.getDate(#zone#)",
            "#timestamp#.getDayOfMonth()",
            "#timestamp#.getDayOfMonth(#zone#)",
            "#timestamp#.getDayOfWeek()",
            "#timestamp#.getDayOfWeek(#zone#)",
            "#timestamp#.getDayOfYear()",
            "#timestamp#.getDayOfYear(#zone#)",
            "#timestamp#.getHours()",
            "#timestamp#.getHours(#zone#)",
            "#timestamp#.getMinutes()",
            "#timestamp#.getMinutes(#zone#)",
            "#timestamp#.getSeconds()",
            "#timestamp#.getSeconds(#zone#)",
            "#timestamp#.getMilliseconds()",
            "#timestamp#.getMilliseconds(#zone#)",
            "#duration#.getHours()",
            "#duration#.getMinutes()",
            "#duration#.getSeconds()",
            "#duration#.getMilliseconds()",
            "#ip#.family()",
            "#cidr#.prefixLength()",
            "#quantity#.asInteger()",
            "#quantity#.sign()",
            "#quantity#.compareTo(#quantity#)",
            "#semver#.major()",
            "#semver#.minor()",
            "#semver#.patch()",
            "#semver#.compareTo(#semver#)",
            "#list(T)#.map(@T@, #int#).sum()",
            "#list(T)#.filter(@T@, #bool#).size()",
            "url(#url_text#).getQuery().size()",
            "#string#.split(#string#).size()",
        ],
    ),
    (
        "uint",
        &[
            "#uint# + #uint#",
            "#uint# - #uint#",
            "#uint# * #uint#",
            "#uint# / #uint#",
            "#uint# % #uint#",
            "uint(#int#)",
            "uint(#double#)",
            "uint(#number_text#)",
            "#list(uint)#.sum()",
            "#list(uint)#.max()",
        ],
    ),
    (
        "double",
        &[
            "#double# + #double#",
            "#double# - #double#",
            "#double# * #double#",
            "#double# / #double#",
            "-#double#",
            "double(#int#)",
            "double(#uint#)",
            "double(#number_text#)",
            "#list(double)#.sum()",
            "#list(double)#.min()",
            "#list(double)#.max()",
            "#quantity#.asApproximateFloat()",
        ],
    ),
    (
        "string",
        &[
            "#string# + #string#",
            "string(#int#)",
            "string(#uint#)",
            "string(#double#)",
            "string(#bool#)",
            "string(#bytes#)",
            "string(#timestamp#)",
            "string(#duration#)",
            "string(#string#)",
            "string(#ip#)",
            "string(#cidr#)",
            "string(#dyn#)",
            "#string#.charAt(#index#)",
            "#string#.lowerAscii()",
            "#string#.upperAscii()",
            "#string#.trim()",
            "#string#.replace(#string#, #string#)",
            "#string#.replace(#string#, #string#, #int#)",
            "#string#.substring(#index#)",
            "#string#.substring(#index#, #index#)",
            "#list(string)#.join()",
            "#list(string)#.join(#string#)",
            "strings.quote(#string#)",
            "#format_text#.format([#T#, #string#])",
            "#format_text#.format([#T#])",
            "'%d'.format([#int#])",
            "'%s %s'.format([#T#, #list(T)#])",
            "'%s'.format([#map(string, T)#])",
            "'%.2f %e'.format([#double#, #double#])",
            "'%x %X %o %b'.format([#int#, #int#, #int#, #int#])",
            "#string#.find(#regex#)",
            "url(#url_text#).getScheme()",
            "url(#url_text#).getHost()",
            "url(#url_text#).getHostname()",
            "url(#url_text#).getPort()",
            "url(#url_text#).getEscapedPath()",
            "#list(string)#.min()",
            "#list(string)#.max()",
            "#string#.split(#string#)[#index#]",
            "#list(T)#.map(@T@, #string#).join(',')",
            "#format#.validate(#string#).orValue(['ok'])[0]",
        ],
    ),
    ("bytes", &["bytes(#string#)", "#bytes# + #bytes#", "bytes(#bytes#)"]),
    (
        "duration",
        &[
            "duration(#duration_text#)",
            "#duration# + #duration#",
            "#duration# - #duration#",
            "#timestamp# - #timestamp#",
            "duration(#duration#)",
            "#list(duration)#.sum()",
            "#list(duration)#.max()",
            "duration(string(#duration#))",
        ],
    ),
    (
        "timestamp",
        &[
            "timestamp(#timestamp_text#)",
            "#timestamp# + #duration#",
            "#duration# + #timestamp#",
            "#timestamp# - #duration#",
            "timestamp(#int#)",
            "timestamp(#timestamp#)",
            "#list(timestamp)#.min()",
            "timestamp(string(#timestamp#))",
        ],
    ),
    ("dyn", &["dyn(#int#)", "dyn(#string#)", "dyn(#list(int)#)"]),
    ("ip", &["ip(#ip_text#)", "ip(#ip_text#)", "#cidr#.ip()"]),
    ("cidr", &["cidr(#cidr_text#)", "#cidr#.masked()"]),
    (
        "quantity",
        &[
            "quantity(#quantity_text#)",
            "quantity(#quantity_text#)",
            "#quantity#.add(#quantity#)",
            "#quantity#.add(#int#)",
            "#quantity#.sub(#quantity#)",
            "#quantity#.sub(#int#)",
        ],
    ),
    ("semver", &["semver(#semver_text#)", "semver(#semver_text#, #bool#)"]),
    ("format", &["format.named(#format_name#).value()"]),
    (
        "list(string)",
        &[
            "#string#.split(#string#)",
            "#string#.split(#string#, #int#)",
            "#string#.findAll(#regex#)",
            "#string#.findAll(#regex#, #int#)",
            "url(#url_text#).getQuery().map(@string@, #string#)",
            "#map(string, T)#.map(@string@, #string#)",
            "#list(string)#.sort()",
            "#map(string, string)#.transformList(@string@, @string@, #string#)",
        ],
    ),
    ("list(int)", &["lists.range(#index#)", "#list(int)#.sort()", "#list(int)# + #list(int)#"]),
    ("list(double)", &["#list(double)#.sort()"]),
    (
        "list(T)",
        &[
            "#list(T)# + #list(T)#",
            "#list(T)#.filter(@T@, #bool#)",
            "#list(T)#.filter(@T@, #bool#)",
            "#list(T)#.map(@T@, #T#)",
            "#list(T)#.map(@T@, #bool#, #T#)",
            "#list(T)#.slice(#index#, #index#)",
            "#list(T)#.reverse()",
            "#list(T)#.distinct()",
            "[#list(T)#, #list(T)#].flatten()",
            "[#list(T)#].flatten(#index#)",
            "#list(T)#.sortBy(@T@, #int#)",
            "#list(T)#.sortBy(@T@, #string#)",
            "#list(T)#.transformList(@int@, @T@, #T#)",
            "#list(T)#.transformList(@int@, @T@, #bool#, #T#)",
            "[#T#, #T#]",
            "[?#optional_type(T)#]",
            "[#T#, ?#optional_type(T)#]",
            "#map(string, T)#.map(@string@, #T#)",
            "#map(string, T)#.transformList(@string@, @T@, #T#)",
            "optional.unwrap([#optional_type(T)#, #optional_type(T)#])",
            "[#optional_type(T)#].unwrapOpt()",
        ],
    ),
    (
        "map(string, T)",
        &[
            "{#string#: #T#}",
            "{'a': #T#, #string#: #T#}",
            "{?'a': #optional_type(T)#}",
            "#map(string, T)#.transformMap(@string@, @T@, #T#)",
            "#map(string, T)#.transformMap(@string@, @T@, #bool#, #T#)",
            "#map(string, T)#.transformMapEntry(@string@, @T@, {#string#: #T#})",
            "#list(T)#.transformMapEntry(@int@, @T@, {#string#: #T#})",
            "#list(T)#.transformMapEntry(@int@, @T@, #bool#, {string(#int#): #T#})",
        ],
    ),
    (
        "optional_type(T)",
        &[
            "optional.of(#T#)",
            "optional.ofNonZeroValue(#T#)",
            "#list(T)#[?#index#]",
            "#map(string, T)#[?#key#]",
            "#list(T)#.first()",
            "#list(T)#.last()",
            "#optional_type(T)#.or(#optional_type(T)#)",
            "#optional_type(T)#.optMap(@T@, #T#)",
            "#optional_type(T)#.optFlatMap(@T@, optional.of(#T#))",
            "#bool# ? #optional_type(T)# : optional.none()",
        ],
    ),
];

/// Literals by their type, or by what a text is for.
const LITERALS: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    (
        "int",
        &[
            "0",
            "1",
            "-1",
            "2",
            "3",
            "5",
            "10",
            "0x1F",
            "9223372036854775807",
            "-9223372036854775808",
            "100",
            "-3",
        ],
    ),
    ("uint", &["0u", "1u", "5u", "18446744073709551615u", "0xFFu"]),
    ("double", &["0.0", "1.0", "-0.5", "1e21", "1.5e-7", ".25", "3.0", "1e308", "0.1"]),
    (
        "string",
        &[
            "''",
            "'a'",
            "\"abc\"",
            "'aws'",
            "'héllo'",
            "'\\u65e5\\u672c'",
            "'🎉'",
            "r'\\d'",
            "'a,b'",
            "'%s'",
            "'''x\ny'''",
            "'\\n'",
            "'e'",
            "' b '",
            "'A'",
        ],
    ),
    ("bytes", &["b''", "b'abc'", "b'\\xff'", "b'é'"]),
    ("duration", &["duration('1h')", "duration('0s')", "duration('-90m')", "duration('1.5s')"]),
    (
        "timestamp",
        &[
            "timestamp('2020-01-01T00:00:00Z')",
            "timestamp('1969-12-31T23:59:59.5Z')",
            "timestamp('2023-06-01T12:00:00+02:00')",
        ],
    ),
    ("dyn", &["dyn(1)", "dyn('a')", "dyn(1.0)", "dyn([1, 'a'])", "dyn(null)", "dyn({})", "dyn(1u)"]),
    ("index", &["0", "0", "1", "2", "3", "-1", "5"]),
    ("key", &["'a'", "'a'", "'b'", "'é'", "'missing'"]),
    (
        "regex",
        &[
            "'a'",
            "'^[a-z]+$'",
            "'[0-9]+'",
            "'.*'",
            "'\\\\d{2,}'",
            "'('",
            "'(a)(b)?'",
            "'\\\\p{L}'",
            "'^$'",
            "'a|b'",
            "'(?i)A'",
        ],
    ),
    (
        "zone",
        &[
            "'UTC'",
            "'+02:00'",
            "'-05:30'",
            "'America/New_York'",
            "'Asia/Kolkata'",
            "'nowhere'",
            "''",
            "'02:00'",
        ],
    ),
    ("bool_text", &["'true'", "'false'", "'1'", "'t'", "'no'", "'TRUE'"]),
    (
        "number_text",
        &["'1'", "'-5'", "'1.5'", "'1e3'", "'x'", "''", "'9223372036854775808'", "'NaN'", "'0x10'"],
    ),
    ("duration_text", &["'1h'", "'90m'", "'1h30m5s'", "'-1.5s'", "'1us'", "'1d'", "'x'", "'100000h'"]),
    (
        "timestamp_text",
        &[
            "'2020-02-29T12:34:56Z'",
            "'2021-06-01T00:00:00.123456789+05:30'",
            "'2020-13-01T00:00:00Z'",
            "'x'",
            "'9999-12-31T23:59:59Z'",
            "'0001-01-01T00:00:00Z'",
        ],
    ),
    (
        "url_text",
        &[
            "'http://example.com'",
            "'https://user@example.com:8080/a%20b?x=1&y=2&x=3#f'",
            "'/path'",
            "'http://'",
            "'http://h:99999/'",
            "'http://h/%zz'",
            "'https://[::1]:80/'",
            "'not a url'",
            "''",
            "'//host/p'",
        ],
    ),
    (
        "ip_text",
        &[
            "'10.0.0.1'",
            "'127.0.0.1'",
            "'::1'",
            "'fe80::1'",
            "'::ffff:1.2.3.4'",
            "'0.0.0.0'",
            "'1.2.3'",
            "'2001:DB8::1'",
            "'224.0.0.1'",
            "'ff02::1'",
            "'fe80::1%eth0'",
            "'01.2.3.4'",
        ],
    ),
    (
        "cidr_text",
        &[
            "'10.0.0.0/8'",
            "'10.0.0.1/8'",
            "'::/0'",
            "'2001:db8::/32'",
            "'1.2.3.4/33'",
            "'1.2.3.4'",
            "'192.168.0.0/16'",
            "'::ffff:1.2.3.0/120'",
        ],
    ),
    (
        "quantity_text",
        &[
            "'1'",
            "'1Gi'",
            "'100m'",
            "'-1.5k'",
            "'1e3'",
            "'0'",
            "'x'",
            "'1Ki'",
            "'9223372036854775807'",
            "'10E'",
            "'1.0000000001'",
            "'1 Gi'",
        ],
    ),
    (
        "semver_text",
        &["'1.2.3'", "'1.2.3-rc.1+b'", "'v1.2'", "'0.0.0'", "'01.2.3'", "'1.0.0-alpha'", "'x'", "'1.2.3-1'"],
    ),
    (
        "format_name",
        &[
            "'dns1123Label'",
            "'uuid'",
            "'byte'",
            "'date'",
            "'datetime'",
            "'uri'",
            "'labelValue'",
            "'qualifiedName'",
            "'nothing'",
            "'dns1123Subdomain'",
        ],
    ),
    (
        "format_text",
        &[
            "'%s'",
            "'%s and %s'",
            "'%d'",
            "'%.3f'",
            "'%x'",
            "'%%'",
            "'%z'",
            "'%5s'",
            "'plain'",
            "'%e'",
            "'%b'",
            "'%o'",
        ],
    ),
    ("ip", &["ip('10.0.0.1')", "ip('::1')"]),
    ("cidr", &["cidr('10.0.0.0/8')", "cidr('2001:db8::/32')"]),
    ("quantity", &["quantity('1Gi')", "quantity('500m')", "quantity('0')"]),
    ("semver", &["semver('1.2.3')", "semver('2.0.0-rc.1')"]),
    (
        "format",
        &[
            "format.dns1123Label()",
            "format.dns1123Subdomain()",
            "format.dns1035Label()",
            "format.qualifiedName()",
            "format.dns1123LabelPrefix()",
            "format.dns1123SubdomainPrefix()",
            "format.dns1035LabelPrefix()",
            "format.labelValue()",
            "format.uri()",
            "format.uuid()",
            "format.byte()",
            "format.date()",
            "format.datetime()",
        ],
    ),
];
