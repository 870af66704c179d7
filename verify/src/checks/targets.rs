use crate::{How, Outcome};
pub(crate) fn no_std(_: &How) -> Outcome {
    Ok(())
}
pub(crate) fn firmware(_: &How) -> Outcome {
    Ok(())
}
