//! Step 4: reads `envoy.config.core.v3.Metadata` as Envoy serialises it, with the types of its values kept.
//!
//! The host's own map form loses types (`"5"` and `5` look alike), which would let one claim pass for another. Only the
//! fields named in `metadata.proto` and `struct.proto` are read; every length is checked, depth is bounded. Nothing is
//! copied: few of the claims are asked for, and of the others only their form matters.

#[cfg(test)]
pub(crate) mod encode;
#[cfg(test)]
mod tests;

/// Values nest at most this deep; claims that nest deeper are refused.
const DEPTH_MAX: u32 = 16;

/// `filter_metadata[namespace]` of a serialised `Metadata`.
///
/// `Ok(None)` when the namespace is not there; `Err` when the bytes are not such a message.
pub fn namespace<'a>(metadata: &'a [u8], namespace: &str) -> Result<Option<Structure<'a>>, MetadataError> {
    let mut found = None;
    for field in fields(metadata) {
        // map<string, google.protobuf.Struct> filter_metadata = 1;
        if let (1, Wire::Bytes(entry)) = field? {
            let (name, bytes) = map_entry(entry)?;
            // One that comes again counts; what it replaces has to be sound all the same.
            let replaced = (name == namespace).then(|| found.replace(Structure { bytes, depth: 0 })).flatten();
            if let Some(replaced) = replaced {
                Said::Structure(replaced).check()?;
            }
        }
    }
    Ok(found)
}

/// `google.protobuf.Struct`: map<string, Value> fields = 1.
#[derive(Clone, Copy, Debug)]
pub struct Structure<'a> {
    bytes: &'a [u8],
    depth: u32,
}

impl<'a> Structure<'a> {
    /// Its members, in the order of the bytes; of several of one name the last counts. What is inside them is looked at by
    /// [`Said::check`] or by whoever walks on.
    pub fn members(self) -> impl Iterator<Item = Result<(&'a str, Said<'a>), MetadataError>> {
        self.entries().map(move |entry| {
            let (name, content) = map_entry(entry?)?;
            Ok((name, value(content, self.depth.saturating_add(1))?))
        })
    }

    /// The bytes of its members, each with its name; nobody has looked into them.
    pub(super) fn entries(self) -> impl Iterator<Item = Result<&'a [u8], MetadataError>> {
        fields(self.bytes).filter_map(|field| match field {
            Ok((1, Wire::Bytes(entry))) => Some(Ok(entry)),
            Ok((_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Bytes(_) | Wire::Fixed32)) => None,
            Err(error) => Some(Err(error)),
        })
    }

    #[cfg(test)]
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, depth: 0 }
    }

    /// The member of that name, when it and all others are sound to their ground. Of the one that is found only its own
    /// form is looked at.
    pub fn get(self, name: &str) -> Result<Option<Said<'a>>, MetadataError> {
        let mut found: Option<Said<'a>> = None;
        for member in self.members() {
            let (one, said) = member?;
            let passed_over = if one == name { found.replace(said) } else { Some(said) };
            passed_over.map_or(Ok(()), Said::check)?;
        }
        Ok(found)
    }
}

/// `google.protobuf.Value`: null 1, number 2, string 3, bool 4, struct 5, list 6.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    Null,
    /// Protobuf's `Value` knows no other number.
    Number(f64),
    Text(&'a str),
    Bool(bool),
    Structure(Structure<'a>),
    List(List<'a>),
}

impl<'a> Said<'a> {
    /// Whether all inside it is sound.
    pub fn check(self) -> Result<(), MetadataError> {
        match self {
            Self::Null | Self::Number(_) | Self::Text(_) | Self::Bool(_) => Ok(()),
            Self::Structure(structure) => structure.members().try_for_each(|member| member?.1.check()),
            Self::List(list) => list.elements().try_for_each(|element| element?.check()),
        }
    }

    /// The text, if it is one.
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Number(_) | Self::Bool(_) | Self::Structure(_) | Self::List(_) => None,
        }
    }
}

/// `google.protobuf.ListValue`: repeated Value values = 1.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    bytes: &'a [u8],
    depth: u32,
}

impl<'a> List<'a> {
    /// Its elements, in order.
    pub fn elements(self) -> impl Iterator<Item = Result<Said<'a>, MetadataError>> {
        fields(self.bytes).filter_map(move |field| match field {
            Ok((1, Wire::Bytes(content))) => Some(value(content, self.depth.saturating_add(1))),
            Ok((_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Bytes(_) | Wire::Fixed32)) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

/// The bytes are not a message of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataError;

impl std::fmt::Display for MetadataError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("metadata is not a serialised envoy.config.core.v3.Metadata")
    }
}

impl std::error::Error for MetadataError {}

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// One key and one value of a protobuf map; both are fields 1 and 2 of an entry message.
fn map_entry(entry: &[u8]) -> Result<(&str, &[u8]), MetadataError> {
    let (mut name, mut content) = ("", &[][..]);
    for field in fields(entry) {
        match field? {
            (1, Wire::Bytes(bytes)) => name = std::str::from_utf8(bytes).map_err(|_| MetadataError)?,
            (2, Wire::Bytes(bytes)) => content = bytes,
            (_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Bytes(_) | Wire::Fixed32) => {}
        }
    }
    Ok((name, content))
}

fn value(bytes: &[u8], depth: u32) -> Result<Said<'_>, MetadataError> {
    if depth >= DEPTH_MAX {
        return Err(MetadataError);
    }
    let depth = depth.saturating_add(1);
    let mut read = Said::Null;
    for field in fields(bytes) {
        let said = match field? {
            (2, Wire::Fixed64(bits)) if f64::from_bits(bits).is_finite() => Said::Number(f64::from_bits(bits)),
            (3, Wire::Bytes(text)) => Said::Text(std::str::from_utf8(text).map_err(|_| MetadataError)?),
            (4, Wire::Varint(flag)) => Said::Bool(flag != 0),
            (5, Wire::Bytes(bytes)) if depth < DEPTH_MAX => Said::Structure(Structure { bytes, depth }),
            (6, Wire::Bytes(bytes)) => Said::List(List { bytes, depth }),
            (5, Wire::Bytes(_)) => return Err(MetadataError),
            (_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Bytes(_) | Wire::Fixed32) => Said::Null,
        };
        std::mem::replace(&mut read, said).check()?;
    }
    Ok(read)
}

/// Walks the fields of one message: (field number, value).
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(u64, Wire<'_>), MetadataError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or(MetadataError))
    })
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let key = varint(rest)?;
    let wire = match key & 7 {
        0 => Wire::Varint(varint(rest)?),
        1 => Wire::Fixed64(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Wire::Bytes(take(rest, length)?)
        }
        5 => {
            take(rest, 4)?;
            Wire::Fixed32
        }
        _ => return None,
    };
    Some((key >> 3, wire))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut read = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        read |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(read);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}
