//! Step 6: where in the arguments a predicate looks: an RFC 6901 JSON pointer in which `*` means any element.

const SEGMENTS_MAX: usize = 32;

/// A pointer into the arguments; ordered and compared by its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    text: String,
    segments: Vec<Segment>,
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// The member of that name, or the element of that index.
    Key(String),
    /// Every element of a list, every member of an object.
    Any,
}

impl Pointer {
    /// Reads a pointer; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(format!("expected a JSON pointer such as `/{text}`"));
        };
        let mut segments = Vec::new();
        for segment in inner.split('/') {
            let escapes_read = segment.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            if !escapes_read {
                return Err("in a JSON pointer `~` is written `~0` and `/` inside a name `~1`".to_owned());
            }
            segments.push(match segment {
                "*" => Segment::Any,
                name => Segment::Key(name.replace("~1", "/").replace("~0", "~")),
            });
        }
        if segments.len() > SEGMENTS_MAX {
            return Err(format!("a pointer has at most {SEGMENTS_MAX} segments, found {}", segments.len()));
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it can lead to several values.
    pub fn has_any(&self) -> bool {
        self.segments.contains(&Segment::Any)
    }
}
