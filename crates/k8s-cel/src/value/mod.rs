//! Values of expressions, and what cel-go's `common/types` lets them do.

mod arithmetic;
mod compare;
mod convert;
mod data;
mod display;
mod error;
mod json;
mod list;
mod map;
mod object;
mod text;
mod work;

pub(crate) use convert::{Target, lossless_int};
pub(crate) use data::{Evaluated, Key, List, Map, Object, Opaque, Value};
pub(crate) use error::{Error, overflow};
pub(crate) use json::{dynamic, read};
pub(crate) use map::unhashable_bytes;
pub(crate) use object::native_type;
pub(crate) use text::{Octets, Text};
pub(crate) use work::{Allowance, ELEMENT, VISIT, work};

pub(crate) use crate::go::Timestamp;
