//! The limits that a vehicle stops at, and how it stops.

/// Limits of a [`SafetyMonitor`](crate::SafetyMonitor).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SafetyOptions {
    /// A control older than this, in seconds, leads to a safe stop. Where its channel's [`Contract`](lkas_core::Contract) says less, that
    /// counts.
    pub max_age_s: f64,
    /// How hard the vehicle brakes in a safe stop and, at least, in an emergency stop; 0 to 1. What is not finite is 1.
    pub brake: f32,
    /// After a safe stop the vehicle drives again when controls have been fresh without a break for this long, in seconds.
    /// The time counts from standstill.
    pub resume_after_s: f64,
}

impl Default for SafetyOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SafetyOptions {
    /// A control may be 0.25 s old, the brake is 0.6, and the vehicle drives again after 0.5 s.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_age_s: 0.25, brake: 0.6, resume_after_s: 0.5 }
    }

    /// Sets [`max_age_s`](Self::max_age_s).
    #[must_use]
    pub const fn max_age_s(mut self, seconds: f64) -> Self {
        self.max_age_s = seconds;
        self
    }

    /// Sets [`brake`](Self::brake).
    #[must_use]
    pub const fn brake(mut self, brake: f32) -> Self {
        self.brake = brake;
        self
    }

    /// Sets [`resume_after_s`](Self::resume_after_s).
    #[must_use]
    pub const fn resume_after_s(mut self, seconds: f64) -> Self {
        self.resume_after_s = seconds;
        self
    }

    /// The same with a brake that can be commanded.
    pub(crate) fn checked(self) -> Self {
        let brake = if self.brake.is_finite() { self.brake.clamp(0.0, 1.0) } else { 1.0 };
        Self { brake, ..self }
    }
}
