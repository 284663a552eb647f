//! Handle on texts of the content.

use std::{ops::Range, sync::Arc};

use crate::{
    document::{Access, DocumentError},
    engine::{Container, ContainerKind, Op, TextSpan, Value},
};

/// Characters with formatting. Positions count Unicode scalar values.
#[derive(Debug, Clone)]
pub struct RichText<A> {
    access: A,
    name: Arc<str>,
}

impl<A: Access> RichText<A> {
    /// The text of that name.
    pub fn new(access: A, name: &str) -> Self {
        Self { access, name: name.into() }
    }

    /// Adds characters at the end.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn push(&self, chars: &str) -> Result<(), A::Error> {
        self.plan(Op::TextInsert { text: self.name.clone(), index: None, chars: chars.to_owned() })
    }

    /// Inserts characters before position `index`.
    ///
    /// # Errors
    /// `Engine` when the position is beyond the end, the name is not a text's, or something is over its limit.
    pub fn insert(&self, index: usize, chars: &str) -> Result<(), A::Error> {
        self.plan(Op::TextInsert { text: self.name.clone(), index: Some(index), chars: chars.to_owned() })
    }

    /// Removes a run of characters.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn remove(&self, range: Range<usize>) -> Result<(), A::Error> {
        self.plan(Op::TextRemove { text: self.name.clone(), range })
    }

    /// Sets a formatting attribute on a run; `Value::Null` clears it.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn format(&self, range: Range<usize>, attribute: &str, value: Value) -> Result<(), A::Error> {
        self.plan(Op::TextFormat { text: self.name.clone(), range, attribute: attribute.into(), value })
    }

    /// The characters.
    ///
    /// # Errors
    /// `Engine` when the name is not a text's.
    pub fn get(&self) -> Result<String, A::Error> {
        Ok(self.spans()?.into_iter().map(|span| span.text).collect())
    }

    /// The characters with their formatting, in runs.
    ///
    /// # Errors
    /// `Engine` when the name is not a text's.
    pub fn spans(&self) -> Result<Vec<TextSpan>, A::Error> {
        Ok(self.access.read(|document| document.content().text_spans(&self.name))?.map_err(DocumentError::from)?)
    }

    /// Number of Unicode scalar values.
    ///
    /// # Errors
    /// `Engine` when the name is not a text's.
    pub fn len(&self) -> Result<usize, A::Error> {
        let container = Container { kind: ContainerKind::Text, name: self.name.clone() };
        Ok(self.access.read(|document| document.content().len(&container))?.map_err(DocumentError::from)?)
    }

    /// True when there are no characters.
    ///
    /// # Errors
    /// As [`Self::len`].
    pub fn is_empty(&self) -> Result<bool, A::Error> {
        Ok(self.len()? == 0)
    }

    fn plan(&self, op: Op) -> Result<(), A::Error> {
        self.access.write(|transaction| {
            transaction.content(op);
            Ok(())
        })
    }
}
