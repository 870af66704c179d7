//! How old a control may be.

use crate::event::{Reason, SafetyEvent};
use crate::options::SafetyOptions;
use lkas_core::Promise;
use lkas_messages::Control;

/// The control that arrived last.
#[derive(Clone, Copy, Debug)]
pub struct LastControl {
    /// The control, not yet checked.
    pub control: Control,
    /// How old it is in seconds. Take the time after the control: a negative age counts as impossible.
    pub age_s: f64,
    /// What its channel promised: `Ok(None)` for nothing.
    pub contract: Promise,
}

/// The age up to which a control may be acted on, in seconds.
pub(crate) fn limit_s(options: &SafetyOptions, contract: Promise) -> f64 {
    match contract.ok().flatten().map(|contract| contract.max_age().as_secs_f64()) {
        // Written so that NaN in the options stays, and nothing is fresh.
        Some(promised) if promised < options.max_age_s => promised,
        _ => options.max_age_s,
    }
}

/// The safe stop that a control of this age asks for; `None` where it may be acted on.
pub(crate) fn judge(
    age_s: f64,
    limit_s: f64,
    contract: Promise,
    gone: impl FnOnce() -> Option<Reason>,
) -> Option<SafetyEvent> {
    let stop = |limit_s, reason| Some(SafetyEvent::SafeStop { age_s, limit_s, reason });
    let Ok(contract) = contract else { return stop(0.0, Reason::NonsenseContract) };
    // The comparisons are written so that NaN is too old.
    if !(age_s >= 0.0 && age_s.is_finite()) {
        return stop(limit_s, Reason::ImpossibleAge);
    }
    let usable = age_s <= limit_s;
    let period_s = contract.map_or(limit_s, |contract| contract.period().as_secs_f64().min(limit_s));
    if usable && age_s <= period_s {
        return None;
    }
    match gone() {
        Some(reason) => stop(period_s, reason),
        None if usable => None,
        None => stop(limit_s, Reason::Silent),
    }
}
