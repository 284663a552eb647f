//! The last line of defence around engine code that reads peers' bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::EngineError;

/// Runs `work`; a panic becomes [`EngineError::Poisoned`].
///
/// Catches panics only: stack overflow, exhaustion and aborts must be closed by [`super::inspect`] beforehand. After
/// an error the content must be rebuilt; it may be half changed.
///
/// # Errors
/// Those of `work`, and `Poisoned` for a panic.
pub fn guarded<R>(work: impl FnOnce() -> Result<R, EngineError>) -> Result<R, EngineError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => {
            let reason = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "panic without a message".to_owned());
            Err(EngineError::Poisoned { reason: reason.chars().take(200).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_text() {
        let outcome: Result<(), _> = guarded(|| panic!("index 9"));
        assert!(matches!(outcome, Err(EngineError::Poisoned { reason }) if reason == "index 9"));
    }
}
