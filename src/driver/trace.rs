//! What is logged of coordination: ends at `info` (what is degraded or broken at `warn`), the rest at `debug`.

use crate::{
    coordination::{participant::Happening, standing::Standing},
    id::{DocumentId, ObjectId},
};

pub(crate) fn trace_happening(document: &DocumentId, object: ObjectId, happening: &Happening) {
    match happening {
        Happening::Defined(plan) => {
            let (name, kind) = (&plan.definition.name, plan.purpose.kind());
            tracing::debug!(%document, %object, %name, kind, "defined");
        }
        Happening::Heard | Happening::Changed => {}
        Happening::Ended { generation, standing, took } => match standing {
            Standing::Released(outcome) if outcome.is_complete() => {
                tracing::info!(%document, %object, generation, ?took, "released, complete");
            }
            Standing::Released(outcome) => {
                let missing: Vec<&str> = outcome.missing().map(crate::id::AgentId::as_str).collect();
                tracing::warn!(%document, %object, generation, ?took, ?missing, "released without some");
            }
            standing => tracing::warn!(%document, %object, generation, ?took, ?standing, "ended"),
        },
        Happening::Item { item, event } => tracing::debug!(%document, %object, %item, ?event, "item"),
        Happening::Closed => tracing::debug!(%document, %object, "finished everywhere, and dropped"),
    }
}
