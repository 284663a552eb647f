//! Writing a checked transaction. Layer 1.

use automerge::{
    Automerge, AutomergeError, ObjId, ReadDoc, ScalarValue,
    marks::{ExpandMark, Mark},
    transaction::{Transactable, Transaction},
};

use super::{
    super::Op,
    containers::Containers,
    value::{Form, form_of, insert, put},
};

/// An operation with the object it acts on.
pub(super) type Step<'a> = (&'a Op, ObjId);

/// Finds the objects; operations without effect on what does not exist are left out.
pub(super) fn resolve<'a>(document: &Automerge, containers: &Containers, ops: &'a [Op]) -> Vec<Step<'a>> {
    ops.iter()
        .filter_map(|op| Some((op, containers.find(document, &op.container().name)?.1)))
        .filter(|(op, _)| match op {
            Op::MapPut { .. } | Op::MapRemove { .. } => true,
            Op::ListInsert { values, .. } => !values.is_empty(),
            Op::TextInsert { chars, .. } => !chars.is_empty(),
            Op::ListRemove { range, .. } | Op::TextRemove { range, .. } | Op::TextFormat { range, .. } => {
                !range.is_empty()
            }
        })
        .collect()
}

/// Performs the steps in order.
pub(super) fn perform(transaction: &mut Transaction<'_>, steps: &[Step<'_>]) -> Result<(), AutomergeError> {
    steps.iter().try_for_each(|(op, object)| perform_one(transaction, op, object))
}

fn perform_one(transaction: &mut Transaction<'_>, op: &Op, object: &ObjId) -> Result<(), AutomergeError> {
    match op {
        Op::MapPut { key, value, .. } => put(transaction, object, key, value),
        Op::MapRemove { key, .. } => match transaction.get(object, key.as_ref())? {
            Some(_) => transaction.delete(object, key.as_ref()),
            None => Ok(()),
        },
        Op::ListInsert { index, values, .. } => {
            let at = index.unwrap_or_else(|| transaction.length(object));
            insert(transaction, object, at, values)
        }
        Op::ListRemove { range, .. } => {
            let none: [ScalarValue; 0] = [];
            transaction.splice(object, range.start, range.len().cast_signed(), none)
        }
        Op::TextInsert { index, chars, .. } => {
            let at = index.unwrap_or_else(|| transaction.length(object));
            transaction.splice_text(object, at, 0, chars)
        }
        Op::TextRemove { range, .. } => transaction.splice_text(object, range.start, range.len().cast_signed(), ""),
        Op::TextFormat { range, attribute, value, .. } => match form_of(value) {
            Form::Scalar(ScalarValue::Null) => {
                transaction.unmark(object, attribute, range.start, range.end, ExpandMark::After)
            }
            Form::Scalar(scalar) => {
                let mark = Mark::new(attribute.as_ref().to_owned(), scalar, range.start, range.end);
                transaction.mark(object, mark, ExpandMark::After)
            }
            Form::List(_) | Form::Map(_) => Ok(()),
        },
    }
}
