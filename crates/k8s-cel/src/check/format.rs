//! Format strings, such as `'%.2f'`: those that are literals are checked with their arguments before they run.

use super::{checked::Checked, walk};
use crate::{
    syntax::{Expr, Id, Kind, Literal},
    types::Type,
};

/// The two forms of `format` that cel-go has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// Numbers as in American English: Kubernetes has this one, which is the form of cel-go's first versions.
    American,
    /// The form of cel-spec.
    Specification,
}

impl Form {
    /// How many digits behind the point are too many.
    fn precision_max(self) -> usize {
        match self {
            Self::American => usize::MAX,
            Self::Specification => 100,
        }
    }
}

/// How an argument is formatted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Clause {
    String,
    Decimal,
    /// With so many digits behind the point.
    Fixed(Option<usize>),
    Scientific(Option<usize>),
    Binary,
    Hex {
        upper: bool,
    },
    Octal,
}

impl Clause {
    /// Reads a clause from the text behind its percent sign, and how many bytes it has.
    pub(crate) fn parse(text: &[u8], form: Form) -> Result<(Self, usize), String> {
        let failed = |why: String| Err(format!("could not parse formatting clause: {why}"));
        let (precision, start) = match precision(text, form.precision_max()) {
            Ok(read) => read,
            Err(why) => return failed(format!("error while parsing precision: {why}")),
        };
        let clause = match text.get(start) {
            Some(b's') => Self::String,
            Some(b'd') => Self::Decimal,
            Some(b'f') => Self::Fixed(precision),
            Some(b'e') => Self::Scientific(precision),
            Some(b'b') => Self::Binary,
            Some(b'x') => Self::Hex { upper: false },
            Some(b'X') => Self::Hex { upper: true },
            Some(b'o') => Self::Octal,
            // A byte is taken for a character, as in cel-go.
            Some(other) => {
                return failed(format!("unrecognized formatting clause \"{}\"", char::from(*other)));
            }
            None => return Err("unexpected end of string".to_owned()),
        };
        Ok((clause, start + 1))
    }

    /// Whether a value of the type can be formatted so. Elements of lists and maps are checked for themselves.
    fn takes(self, of: &Type, form: Form) -> bool {
        let of = match of {
            Type::Nullable(inner) => inner,
            other => other,
        };
        match self {
            _ if *of == Type::Dyn => true,
            Self::String => {
                !matches!(of, Type::Any | Type::Error | Type::Object(_) | Type::Opaque(..) | Type::Param(_))
            }
            Self::Decimal | Self::Fixed(_) | Self::Scientific(_) if form == Form::Specification => {
                matches!(of, Type::Int | Type::Uint | Type::Double)
            }
            Self::Decimal | Self::Octal => matches!(of, Type::Int | Type::Uint),
            // `NaN` and infinities are strings.
            Self::Fixed(_) | Self::Scientific(_) => matches!(of, Type::Double | Type::String),
            Self::Binary => matches!(of, Type::Int | Type::Uint | Type::Bool),
            Self::Hex { .. } => matches!(of, Type::Int | Type::Uint | Type::String | Type::Bytes),
        }
    }

    /// The error for a value of another type.
    pub(crate) fn refuses(self, type_name: &str, form: Form) -> String {
        let rule = match (self, form) {
            (Self::String, _) => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and \
                 timestamps"
            }
            (Self::Decimal, Form::American) => "decimal clause can only be used on integers",
            (Self::Decimal, _) => "decimal clause can only be used on ints, uints, and doubles",
            (Self::Fixed(_), Form::American) => "fixed-point clause can only be used on doubles",
            (Self::Fixed(_), _) => "fixed-point clause can only be used on ints, uints, and doubles",
            (Self::Scientific(_), Form::American) => "scientific clause can only be used on doubles",
            (Self::Scientific(_), _) => "scientific clause can only be used on ints, uints, and doubles",
            (Self::Binary, Form::American) => "only integers and bools can be formatted as binary",
            (Self::Binary, _) => "only ints, uints, and bools can be formatted as binary",
            (Self::Hex { .. }, Form::American) => {
                "only integers, byte buffers, and strings can be formatted as hex"
            }
            (Self::Hex { .. }, _) => "only ints, uints, bytes, and strings can be formatted as hex",
            (Self::Octal, Form::American) => "octal clause can only be used on integers",
            (Self::Octal, _) => "octal clause can only be used on ints and uints",
        };
        format!("{rule}, was given {type_name}")
    }
}

/// Reads the digits behind a point, if there is one.
fn precision(text: &[u8], max: usize) -> Result<(Option<usize>, usize), String> {
    let Some(rest) = text.strip_prefix(b".") else { return Ok((None, 0)) };
    let Some(end) = rest.iter().position(|byte| !byte.is_ascii_digit()) else {
        return Err("could not find end of precision specifier".to_owned());
    };
    let digits: String = rest.iter().take(end).copied().map(char::from).collect();
    match digits.parse::<i64>().ok().and_then(|precision| usize::try_from(precision).ok()) {
        Some(precision) if precision > max => {
            Err(format!("precision {precision} exceeds maximum allowed precision {max}"))
        }
        Some(precision) => Ok((Some(precision), end + 1)),
        None => {
            let why = if digits.is_empty() { "invalid syntax" } else { "value out of range" };
            Err(format!(
                "error while converting precision to integer: strconv.Atoi: parsing \"{digits}\": {why}"
            ))
        }
    }
}

/// What is wrong with a call of `format` on a literal with a list of arguments, and where.
pub(super) fn validate(checked: &Checked, call: &Expr, form: Form) -> Option<(Id, String)> {
    let Kind::Call { function, target: Some(target), args } = &call.kind else { return None };
    let Kind::Literal(Literal::String(text)) = &target.kind else { return None };
    let [Expr { kind: Kind::List { elements, .. }, .. }] = args.as_slice() else { return None };
    if &**function != "format" {
        return None;
    }
    let mut rest = text.as_bytes();
    let mut args = elements.iter();
    while let Some(percent) = rest.iter().position(|byte| *byte == b'%') {
        rest = rest.get(percent + 1..).unwrap_or_default();
        if let Some(behind) = rest.strip_prefix(b"%") {
            rest = behind;
            continue;
        }
        if rest.is_empty() {
            return Some((call.id, "unexpected end of string".to_owned()));
        }
        let Some(arg) = args.next() else {
            return Some((call.id, format!("index {} out of range", elements.len())));
        };
        match Clause::parse(rest, form) {
            Ok((clause, read)) => {
                if let found @ Some(_) = refused(checked, clause, arg, form) {
                    return found;
                }
                rest = rest.get(read..).unwrap_or_default();
            }
            Err(why) => return Some((call.id, why)),
        }
    }
    let unused = args.len();
    (unused > 0).then(|| {
        let (expected, got) = (elements.len() - unused, elements.len());
        (call.id, format!("too many arguments supplied to string.format (expected {expected}, got {got})"))
    })
}

/// What a clause cannot format in an argument: it looks into literals of lists and maps.
fn refused(checked: &Checked, clause: Clause, arg: &Expr, form: Form) -> Option<(Id, String)> {
    let inside =
        |expr: &Expr| clause == Clause::String && matches!(expr.kind, Kind::List { .. } | Kind::Map(_));
    walk::outer_first_in(arg, inside).find_map(|expr| {
        let of = checked.types.get(&expr.id)?;
        (!clause.takes(of, form))
            .then(|| (expr.id, format!("error during formatting: {}", clause.refuses(of.name(), form))))
    })
}
