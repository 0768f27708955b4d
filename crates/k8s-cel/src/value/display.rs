//! Values in messages: what Go prints with `%v`.

use std::fmt;

use super::{VISIT, Value, work};
use crate::go;

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL_VALUE"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Double(value) => f.write_str(&go::format_general(*value)),
            Self::String(text) => match work(text.len()) {
                Ok(()) => f.write_str(text),
                Err(_) => Ok(()),
            },
            Self::Bytes(bytes) => {
                f.write_str("[")?;
                for (index, byte) in bytes.iter().enumerate() {
                    write!(f, "{}{byte}", if index == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Self::Duration(nanos) => f.write_str(&go::format_duration(*nanos)),
            Self::Timestamp(time) => f.write_str(&go::format_rfc3339(*time)),
            Self::List(list) => {
                f.write_str("[")?;
                for (index, value) in list.iter().enumerate() {
                    if work(VISIT).is_err() {
                        break;
                    }
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    match value {
                        Ok(value) => write!(f, "{value}")?,
                        Err(error) => write!(f, "{error}")?,
                    }
                }
                f.write_str("]")
            }
            Self::Map(map) => {
                f.write_str("{")?;
                for (index, (key, value)) in map.entries().enumerate() {
                    if work(VISIT).is_err() {
                        break;
                    }
                    write!(f, "{}{key}: ", if index == 0 { "" } else { ", " })?;
                    match value {
                        Ok(value) => write!(f, "{value}")?,
                        Err(error) => write!(f, "{error}")?,
                    }
                }
                f.write_str("}")
            }
            Self::Optional(Some(value)) => write!(f, "optional({value})"),
            Self::Optional(None) => f.write_str("optional.none()"),
            Self::Type(value) => f.write_str(&value.runtime()),
            Self::Object(object) => {
                write!(f, "{}{{", object.type_name)?;
                for (index, (name, value)) in object.fields.iter().enumerate() {
                    if work(VISIT).is_err() {
                        break;
                    }
                    write!(f, "{}{name}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Self::Opaque(value) => f.write_str(&value.display()),
        }
    }
}
