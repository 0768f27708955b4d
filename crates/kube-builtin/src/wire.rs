//! Protobuf's wire format, read as by the code that gogo/protobuf generates.

use crate::malformed::Malformed;

/// The tag at the start of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    pub(crate) number: i32,
    wire: u8,
}

/// The encoding of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireType {
    Varint,
    Fixed64,
    /// A length, followed by as many bytes.
    Bytes,
}

/// An encoded value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// Reads the fields of a message.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl WireType {
    fn number(self) -> u8 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Bytes => 2,
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads the tag of the next field. `None` at the end.
    pub(crate) fn tag(&mut self, message: &str) -> Result<Option<Tag>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let wire = wire_type(tag);
        if wire == 4 {
            return Err(Malformed::EndGroup { message: message.to_owned() });
        }
        // Truncated, as in Go.
        let number = (tag >> 3) as i32;
        if number <= 0 {
            return Err(Malformed::IllegalTag { message: message.to_owned(), number, wire: tag });
        }
        Ok(Some(Tag { number, wire }))
    }

    /// Reads the value of a field, which must have the expected wire type.
    pub(crate) fn value(&mut self, tag: Tag, wanted: WireType, field: &str) -> Result<Raw<'a>, Malformed> {
        if tag.wire != wanted.number() {
            return Err(Malformed::WireType { wire: tag.wire, field: field.to_owned() });
        }
        Ok(match wanted {
            WireType::Varint => Raw::Varint(self.varint()?),
            WireType::Fixed64 => Raw::Fixed64(self.fixed64()?),
            WireType::Bytes => Raw::Bytes(self.delimited()?),
        })
    }

    pub(crate) fn bytes(&mut self, tag: Tag, field: &str) -> Result<&'a [u8], Malformed> {
        match self.value(tag, WireType::Bytes, field)? {
            Raw::Bytes(bytes) => Ok(bytes),
            Raw::Varint(_) | Raw::Fixed64(_) => Ok(&[]),
        }
    }

    /// Reads the numbers of a list: either a single one, or packed ones with a length before them.
    pub(crate) fn packed(
        &mut self,
        tag: Tag,
        wanted: WireType,
        field: &str,
        mut each: impl FnMut(Raw<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if tag.wire != WireType::Bytes.number() || wanted == WireType::Bytes {
            return each(self.value(tag, wanted, field)?);
        }
        let mut packed = Self::new(self.delimited()?);
        let one = Tag { number: tag.number, wire: wanted.number() };
        while !packed.rest.is_empty() {
            each(packed.value(one, wanted, field)?)?;
        }
        Ok(())
    }

    /// Skips an unknown field.
    pub(crate) fn skip(&mut self, tag: Tag) -> Result<(), Malformed> {
        let mut wire = tag.wire;
        let mut depth = 0_usize;
        loop {
            match wire {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => drop(self.delimited()?),
                3 => depth += 1,
                4 => depth = depth.checked_sub(1).ok_or(Malformed::UnexpectedEndOfGroup)?,
                5 => drop(self.take(4)?),
                _ => return Err(Malformed::IllegalWireType(wire)),
            }
            if depth == 0 {
                return Ok(());
            }
            wire = wire_type(self.varint()?);
        }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(Malformed::UnexpectedEof)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Overflow)
    }

    fn fixed64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?.first_chunk().ok_or(Malformed::UnexpectedEof)?;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.varint()?;
        // In Go, it is a signed 64-bit integer.
        let length = i64::try_from(length).map_err(|_| Malformed::NegativeLength)?;
        self.take(usize::try_from(length).map_err(|_| Malformed::UnexpectedEof)?)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::UnexpectedEof)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn wire_type(tag: u64) -> u8 {
    (tag & 7) as u8
}

/// Converts bytes to text. Invalid UTF-8 becomes U+FFFD, as when Go writes it as JSON.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
