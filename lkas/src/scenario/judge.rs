//! How a drive is judged, in lockstep and in real time.

use super::file::{Expected, Scenario};
use super::report::Report;
use crate::simulation::World;

/// Faster than this in m/s a vehicle outside of its lane has to be in a safe stop: 5 km/h.
const FAST: f64 = 5.0 / 3.6;

/// No vehicle gets further from the lane's middle than this before it stands, in metres.
const FARTHEST_M: f64 = 1.2;

/// A safe stop ends at no higher speed than this, in m/s.
const STANDS: f64 = 0.5;

/// Half the vehicle's width, in metres.
const HALF_WIDTH_M: f64 = 0.9;

/// The vehicle for a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    now_s: f64,
    dt: f64,
    /// Distance from the lane's middle, and the one at which a wheel is on the line, in metres.
    offset_m: f64,
    edge_m: f64,
    /// In m/s.
    speed: f64,
    /// In radians a second.
    yaw_rate: f64,
    stopping: bool,
}

impl Moment {
    /// The vehicle of `world`, which has driven for `dt` seconds and turned at that rate; `stopping` is whether it executes
    /// an emergency stop.
    pub(crate) fn of(world: &World, now_s: f64, dt: f64, yaw_rate: f64, stopping: bool) -> Self {
        Self {
            now_s,
            dt,
            offset_m: world.lateral_offset_m().abs(),
            edge_m: 0.5 * world.road().lane_width() - HALF_WIDTH_M,
            speed: world.vehicle().speed(),
            yaw_rate,
            stopping,
        }
    }
}

/// Watches a drive.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) report: Report,
    stopping: bool,
    stop_began_s: f64,
    entered: bool,
    moving_s: f64,
}

impl Judge {
    /// Of a drive that has not begun.
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Self {
        Self {
            report: Report { name: scenario.name.clone(), seed, ..Report::default() },
            stopping: true,
            stop_began_s: 0.0,
            entered: false,
            moving_s: 0.0,
        }
    }

    /// Looks at one moment after the other; `reason` is why the vehicle stops, where it does.
    pub(crate) fn watch(&mut self, moment: &Moment, reason: impl FnOnce() -> String) {
        let Moment { now_s, dt, offset_m: offset, edge_m: edge, speed, yaw_rate, stopping } = *moment;
        let report = &mut self.report;
        if stopping && !self.stopping && speed > 0.1 {
            report.stops += 1;
            self.stop_began_s = now_s;
            report.first_stop_s.get_or_insert(now_s);
            report.reason.get_or_insert_with(reason);
        }
        report.broken_off += u64::from(!stopping && self.stopping && speed > STANDS);
        if stopping && speed > 0.1 {
            report.time_to_stop_s = report.time_to_stop_s.max(now_s + dt - self.stop_began_s);
        }
        self.stopping = stopping;
        report.max_speed_kmh = report.max_speed_kmh.max(speed * 3.6);
        report.max_sideways = report.max_sideways.max((speed * yaw_rate).abs());
        report.drives_at_end = speed > 0.5;
        // A vehicle that was put outside of its lane counts from when it has been inside.
        self.entered |= offset < edge;
        if speed <= 0.1 {
            return;
        }
        let before = self.moving_s;
        self.moving_s += dt;
        report.distance_m += speed * dt;
        report.mean_offset_m = (report.mean_offset_m * before + offset * dt) / self.moving_s;
        let counts = self.entered || (offset > edge && speed > FAST);
        if !counts {
            return;
        }
        report.max_offset_m = report.max_offset_m.max(offset);
        if offset > edge {
            report.outside_s += dt;
            if speed > FAST && !stopping {
                report.outside_unstopped_s += dt;
            }
        }
    }

    /// The report, with what did not hold.
    pub(crate) fn finish(mut self, expected: &Expected) -> Report {
        let report = &self.report;
        let mut failures = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        expect(
            report.outside_unstopped_s == 0.0,
            format!("outside of the lane for {:.2} s without a safe stop, expected never", report.outside_unstopped_s),
        );
        expect(report.broken_off == 0, format!("{} stops ended on the move, expected none", report.broken_off));
        let most = expected.max_offset_m.unwrap_or(FARTHEST_M).min(FARTHEST_M);
        expect(
            report.max_offset_m <= most,
            format!("offset up to {:.2} m, expected {most} at most", report.max_offset_m),
        );
        if let Some(outcome) = expected.outcome {
            let found = report.outcome();
            expect(found == outcome, format!("the vehicle {found}, expected that it {outcome}"));
        }
        if let Some(most) = expected.most_stops {
            expect(report.stops <= most, format!("{} stops, expected {most} at most", report.stops));
        }
        if let Some(by_s) = expected.stops_by_s {
            let first = report.first_stop_s.unwrap_or(f64::INFINITY);
            expect(first <= by_s, format!("the first stop began after {first:.2} s, expected after {by_s} at most"));
        }
        if let Some(least) = expected.distance_m {
            expect(report.distance_m >= least, format!("drove {:.0} m, expected {least} at least", report.distance_m));
        }
        if let Some(most) = expected.at_most_m {
            expect(report.distance_m <= most, format!("drove {:.0} m, expected {most} at most", report.distance_m));
        }
        if let Some(least) = expected.speed_kmh {
            let found = report.max_speed_kmh;
            expect(found >= least, format!("up to {found:.0} km/h, expected {least} at least"));
        }
        if let Some(drives) = expected.drives_at_end {
            let said = |drives| if drives { "drives" } else { "stands" };
            let (found, wanted) = (said(report.drives_at_end), said(drives));
            expect(
                report.drives_at_end == drives,
                format!("at the end the vehicle {found}, expected that it {wanted}"),
            );
        }
        self.report.failures = failures;
        self.report
    }
}
