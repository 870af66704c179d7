use crate::{How, Outcome};
pub(crate) fn fuzz(_: &How) -> Outcome {
    Ok(())
}
