//! A scenario driven again and again with other values: where it stays in its lane, where it stops, where it does neither.

use super::parallel::in_parallel;
use super::{Outcome, Report, Scenario, run};
use crate::Failure;
use core::fmt::{self, Write};
use core::str::FromStr;

/// Values of each axis.
const VALUES: usize = 11;

/// A parameter and the values that it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// A parameter's name, or one of those that [`Scenario::set`] knows beside them.
    pub name: String,
    /// The least value.
    pub from: f64,
    /// The greatest value.
    pub to: f64,
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no range, expected NAME=FROM..TO as in kp=0..2 or delay=0..250ms");
        let (name, range) = text.split_once('=').ok_or_else(wrong)?;
        let (from, to) = range.split_once("..").ok_or_else(wrong)?;
        let number =
            |text: &str| text.trim_end_matches(|c: char| c.is_alphabetic() || c == '/').parse().map_err(|_| wrong());
        let axis = Self { name: name.into(), from: number(from)?, to: number(to)? };
        if !(axis.from.is_finite() && axis.to.is_finite() && axis.from < axis.to) {
            return Err(wrong());
        }
        Ok(axis)
    }
}

impl Axis {
    fn value(&self, index: usize) -> f64 {
        self.from + (self.to - self.from) * index as f64 / (VALUES - 1) as f64
    }
}

/// How the vehicle kept its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// In its lane all the time, without a stop.
    Stable,
    /// It stopped, in its lane.
    Stopping,
    /// It left the lane without a stop, or too far.
    Unsafe,
}

/// The map of all drives.
#[derive(Clone, Debug)]
pub struct Sweep {
    scenario: String,
    across: Axis,
    up: Axis,
    /// Row by row, from the least value of `up`: the outcome and the largest offset.
    cells: Vec<(Stability, f64)>,
}

/// Drives a scenario once for each pair of values.
///
/// # Errors
/// An axis is no parameter, or the scenario can't be driven.
pub fn sweep(scenario: &Scenario, seed: u64, across: &Axis, up: &Axis) -> Result<Sweep, Failure> {
    let mut cells = vec![(Stability::Unsafe, f64::NAN); VALUES * VALUES];
    let mut failure = None;
    let drive = |index: usize| -> Result<Report, Failure> {
        let mut scenario = scenario.clone();
        scenario.set(&across.name, across.value(index % VALUES))?;
        scenario.set(&up.name, up.value(index / VALUES))?;
        run(&scenario, seed)
    };
    in_parallel(cells.len(), drive, |index, report| match report {
        Ok(report) => cells[index] = (stability(&report), report.max_offset_m),
        Err(error) => failure = Some(error),
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(Sweep { scenario: scenario.name.clone(), across: across.clone(), up: up.clone(), cells }),
    }
}

fn stability(report: &Report) -> Stability {
    if report.outside_unstopped_s > 0.0 || report.max_offset_m > 1.2 {
        Stability::Unsafe
    } else if report.outcome() != Outcome::Drives {
        Stability::Stopping
    } else {
        Stability::Stable
    }
}

impl Sweep {
    /// Whether no drive was unsafe.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.cells.iter().all(|(outcome, _)| *outcome != Stability::Unsafe)
    }

    /// The map as a picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let (cell, left, top) = (44, 90, 50);
        let (width, height) = (left + VALUES * cell + 20, top + VALUES * cell + 90);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n<text x=\"{left}\" y=\"28\" \
             font-size=\"15\">{}: largest offset in metres over {} and {}</text>\n",
            self.scenario, self.across.name, self.up.name
        );
        let write = |svg: &mut String, text: core::fmt::Arguments<'_>| {
            // Writing to a string never fails.
            let _ = svg.write_fmt(text);
        };
        for (index, (outcome, offset)) in self.cells.iter().enumerate() {
            let x = left + index % VALUES * cell;
            let y = top + (VALUES - 1 - index / VALUES) * cell;
            let colour = match outcome {
                Stability::Stable => "#cfe8cf",
                Stability::Stopping => "#f6e3a8",
                Stability::Unsafe => "#e8a0a0",
            };
            let (tx, ty) = (x + cell / 2, y + cell / 2 + 4);
            write(
                &mut svg,
                format_args!(
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{cell}\" height=\"{cell}\" fill=\"{colour}\" stroke=\"#fff\"/>\
                     <text x=\"{tx}\" y=\"{ty}\" text-anchor=\"middle\">{offset:.2}</text>\n"
                ),
            );
        }
        for index in 0..VALUES {
            let (x, y) = (left + index * cell + cell / 2, top + VALUES * cell + 18);
            let value = short(self.across.value(index));
            write(&mut svg, format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{value}</text>\n"));
            let (x, y) = (left - 8, top + (VALUES - 1 - index) * cell + cell / 2 + 4);
            let value = short(self.up.value(index));
            write(&mut svg, format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{value}</text>\n"));
        }
        let (x, y) = (left + VALUES * cell / 2, top + VALUES * cell + 40);
        write(&mut svg, format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>\n", self.across.name));
        let y = top - 8;
        write(&mut svg, format_args!("<text x=\"10\" y=\"{y}\">{}</text>\n", self.up.name));
        let y = top + VALUES * cell + 54;
        let legend = [("#cfe8cf", "in its lane"), ("#f6e3a8", "stops in its lane"), ("#e8a0a0", "neither")];
        for (index, (colour, name)) in legend.into_iter().enumerate() {
            let x = left + index * 150;
            let (tx, ty) = (x + 20, y + 12);
            write(
                &mut svg,
                format_args!(
                    "<rect x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\" fill=\"{colour}\"/>\
                     <text x=\"{tx}\" y=\"{ty}\">{name}</text>\n"
                ),
            );
        }
        svg + "</svg>\n"
    }
}

/// A number as short as it is exact enough for a map.
fn short(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

impl fmt::Display for Sweep {
    /// One character for each drive: `.` in its lane, `s` stops in its lane, `X` neither.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: . in its lane, s stops in its lane, X neither", self.scenario)?;
        for row in (0..VALUES).rev() {
            write!(f, "{:>10} ", short(self.up.value(row)))?;
            for (outcome, _) in &self.cells[row * VALUES..(row + 1) * VALUES] {
                f.write_str(match outcome {
                    Stability::Stable => " .",
                    Stability::Stopping => " s",
                    Stability::Unsafe => " X",
                })?;
            }
            writeln!(f)?;
        }
        let (from, to) = (short(self.across.from), short(self.across.to));
        writeln!(f, "{:>10}  {} from {from} to {to}", self.up.name, self.across.name)
    }
}
