//! Lists and sets: apiserver's `lists.go`, cel-go's `ext/lists.go` and `ext/sets.go`.

use std::cmp::Ordering;

use super::arguments::{Implementation, Table, int, list, mismatch};
use crate::value::{ELEMENT, Error, Evaluated, List, Value, work};

/// cel-go's limit for `lists.range`.
const RANGE_MAX: i64 = 1_000_000;

const MAX: Implementation = |args| extreme(args, "max", Ordering::Less);
const MIN: Implementation = |args| extreme(args, "min", Ordering::Greater);

pub(super) const TABLE: Table = &[
    ("list_int_is_sorted_bool", is_sorted),
    ("list_uint_is_sorted_bool", is_sorted),
    ("list_double_is_sorted_bool", is_sorted),
    ("list_bool_is_sorted_bool", is_sorted),
    ("list_duration_is_sorted_bool", is_sorted),
    ("list_timestamp_is_sorted_bool", is_sorted),
    ("list_string_is_sorted_bool", is_sorted),
    ("list_bytes_is_sorted_bool", is_sorted),
    ("list_int_sum_int", |args| sum(args, Value::Int(0))),
    ("list_uint_sum_uint", |args| sum(args, Value::Uint(0))),
    ("list_double_sum_double", |args| sum(args, Value::Double(0.0))),
    ("list_duration_sum_duration", |args| sum(args, Value::Duration(0))),
    ("list_int_max_int", MAX),
    ("list_uint_max_uint", MAX),
    ("list_double_max_double", MAX),
    ("list_bool_max_bool", MAX),
    ("list_duration_max_duration", MAX),
    ("list_timestamp_max_timestamp", MAX),
    ("list_string_max_string", MAX),
    ("list_bytes_max_bytes", MAX),
    ("list_int_min_int", MIN),
    ("list_uint_min_uint", MIN),
    ("list_double_min_double", MIN),
    ("list_bool_min_bool", MIN),
    ("list_duration_min_duration", MIN),
    ("list_timestamp_min_timestamp", MIN),
    ("list_string_min_string", MIN),
    ("list_bytes_min_bytes", MIN),
    ("list_a_index_of_int", |args| {
        let found = positions(args)?.first().copied();
        Ok(Value::Int(found.unwrap_or(-1)))
    }),
    ("list_a_last_index_of_int", |args| {
        let found = positions(args)?.last().copied();
        Ok(Value::Int(found.unwrap_or(-1)))
    }),
    ("list_includes_dyn_dyn", |args| match args {
        [Value::List(list), value] => Ok(Value::Bool(list.iter().any(|element| equals(&element, value)))),
        [target, value] => Ok(Value::Bool(matches!(target.equal(value), Ok(true)))),
        _ => mismatch(),
    }),
    ("list_slice", |args| {
        let (list, start, end) = (list(args)?, int(args, 1)?, int(args, 2)?);
        let cannot = |why: &str| Err(Error::new(format!("cannot slice({start}, {end}), {why}")));
        match (usize::try_from(start), usize::try_from(end)) {
            (Ok(from), Ok(to)) if from <= to && to <= list.len() => {
                let values = list.iter().skip(from).take(to - from);
                Ok(Value::list(values.collect::<Result<_, _>>()?))
            }
            (Err(_), _) | (_, Err(_)) => cannot("negative indexes not supported"),
            (Ok(from), Ok(to)) if from > to => cannot("start index must be less than or equal to end index"),
            _ => cannot(&format!("list is length {}", list.len())),
        }
    }),
    ("list_flatten", |args| match args {
        [Value::List(list)] => flatten(list, 1),
        _ => cannot_flatten(args),
    }),
    ("list_flatten_int", |args| match args {
        [Value::List(list), Value::Int(depth)] => flatten(list, *depth),
        _ => cannot_flatten(args),
    }),
    ("list_reverse", |args| {
        let mut values = list(args)?.values()?;
        values.reverse();
        Ok(Value::list(values))
    }),
    ("list_distinct", |args| {
        let mut distinct: Vec<Value<'_>> = Vec::new();
        for element in list(args)?.iter() {
            let element = element?;
            if !distinct.iter().any(|known| matches!(element.equal(known), Ok(true))) {
                work(ELEMENT)?;
                distinct.push(element);
            }
        }
        Ok(Value::list(distinct))
    }),
    ("lists_range", |args| {
        let size = int(args, 0)?;
        if size < 0 {
            return Err(Error::new(format!("lists.range: size must be non-negative, got {size}")));
        }
        if size > RANGE_MAX {
            let limit = format!("exceeds maximum allowed ({RANGE_MAX})");
            return Err(Error::new(format!("lists.range: size {size} {limit}")));
        }
        Ok(Value::list((0..size).map(Value::Int).collect()))
    }),
    ("list_int_sort", sort),
    ("list_uint_sort", sort),
    ("list_double_sort", sort),
    ("list_bool_sort", sort),
    ("list_google.protobuf.Duration_sort", sort),
    ("list_google.protobuf.Timestamp_sort", sort),
    ("list_string_sort", sort),
    ("list_bytes_sort", sort),
    ("list_int_sortByAssociatedKeys", sort_by),
    ("list_uint_sortByAssociatedKeys", sort_by),
    ("list_double_sortByAssociatedKeys", sort_by),
    ("list_bool_sortByAssociatedKeys", sort_by),
    ("list_google.protobuf.Duration_sortByAssociatedKeys", sort_by),
    ("list_google.protobuf.Timestamp_sortByAssociatedKeys", sort_by),
    ("list_string_sortByAssociatedKeys", sort_by),
    ("list_bytes_sortByAssociatedKeys", sort_by),
    ("list_sets_contains_list", |args| match args {
        [Value::List(list), Value::List(part)] => contains_all(list, part).map(Value::Bool),
        _ => mismatch(),
    }),
    ("list_sets_equivalent_list", |args| match args {
        [Value::List(left), Value::List(right)] => {
            Ok(Value::Bool(contains_all(left, right)? && contains_all(right, left)?))
        }
        _ => mismatch(),
    }),
    ("list_sets_intersects_list", |args| match args {
        [Value::List(left), Value::List(right)] => {
            let mut elements = left.iter().flatten();
            Ok(Value::Bool(elements.any(|element| matches!(right.contains(&element), Ok(true)))))
        }
        _ => mismatch(),
    }),
];

fn equals(element: &Evaluated<'_>, value: &Value<'_>) -> bool {
    element.as_ref().is_ok_and(|element| matches!(element.equal(value), Ok(true)))
}

fn positions(args: &[Value<'_>]) -> Result<Vec<i64>, Error> {
    let (list, [_, value]) = (list(args)?, args) else { return Err(Error::no_such_overload()) };
    Ok((0..).zip(list.iter()).filter(|(_, element)| equals(element, value)).map(|(index, _)| index).collect())
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    let mut previous: Option<Value<'a>> = None;
    for element in list(args)?.iter() {
        let element = element?;
        if let Some(previous) = previous
            && matches!(previous.compare(&element), Ok(Ordering::Greater))
        {
            return Ok(Value::Bool(false));
        }
        previous = Some(element);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>], zero: Value<'a>) -> Evaluated<'a> {
    list(args)?.iter().try_fold(zero, |sum, element| sum.add(element?, "_+_"))
}

/// The element that no other one is preferred to; the first of equal ones.
fn extreme<'a>(args: &[Value<'a>], name: &str, worse: Ordering) -> Evaluated<'a> {
    let mut found: Option<Value<'a>> = None;
    for element in list(args)?.iter() {
        let element = element?;
        if !element.has_order() {
            return Err(Error::no_such_overload());
        }
        found = Some(match found {
            Some(found) if !matches!(found.compare(&element), Ok(order) if order == worse) => found,
            _ => element,
        });
    }
    found.ok_or_else(|| Error::new(format!("{name} called on empty list")))
}

fn flatten<'a>(list: &List<'a>, depth: i64) -> Evaluated<'a> {
    fn collect<'a>(list: &List<'a>, depth: i64, out: &mut Vec<Value<'a>>) -> Result<(), Error> {
        for element in list.iter() {
            work(ELEMENT)?;
            match element? {
                Value::List(inner) if depth > 0 => collect(&inner, depth - 1, out)?,
                other => out.push(other),
            }
        }
        Ok(())
    }
    if depth < 0 {
        return Err(Error::new("level must be non-negative"));
    }
    let mut flat = Vec::new();
    collect(list, depth, &mut flat)?;
    Ok(Value::list(flat))
}

fn cannot_flatten<'a>(args: &[Value<'_>]) -> Evaluated<'a> {
    let mut types = args.iter().map(|arg| arg.type_of().runtime());
    let target = types.next().unwrap_or_default();
    let rest: Vec<_> = types.collect();
    Err(Error::new(format!("no such overload: {target}.flatten({})", rest.join(", "))))
}

fn sort<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    sorted(list(args)?, list(args)?)
}

fn sort_by<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    let [Value::List(list), Value::List(keys)] = args else { return mismatch() };
    if list.len() != keys.len() {
        return Err(Error::new(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} \
             elements respectively",
            list.len(),
            keys.len()
        )));
    }
    // Even an empty list becomes another one, unlike in `sort`.
    if list.len() == 0 {
        return Ok(Value::list(Vec::new()));
    }
    sorted(list, keys)
}

fn sorted<'a>(list: &List<'a>, keys: &List<'a>) -> Evaluated<'a> {
    let (values, keys) = (list.values()?, keys.values()?);
    // An empty list stays as it is, with the type that a schema gave to it.
    let Some(first) = keys.first() else { return Ok(Value::List(list.clone())) };
    if !first.has_order() {
        return Err(Error::new("list elements must be comparable"));
    }
    let kind = std::mem::discriminant(first);
    if keys.iter().any(|key| std::mem::discriminant(key) != kind) {
        return Err(Error::new("list elements must have the same type"));
    }
    let mut pairs: Vec<_> = keys.into_iter().zip(values).collect();
    pairs.sort_by(|(left, _), (right, _)| left.compare(right).unwrap_or(Ordering::Equal));
    Ok(Value::list(pairs.into_iter().map(|(_, value)| value).collect()))
}

fn contains_all<'a>(list: &List<'a>, part: &List<'a>) -> Result<bool, Error> {
    for element in part.iter() {
        if !list.contains(&element?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
