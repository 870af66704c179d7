//! Names of parameters and actions: bounded strings, checked where they enter.

use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 32;

/// A well-formed name: 1 to [`MAX_NAME`] of `a-z`, `0-9` and `_`.
///
/// ```
/// use lkas_messages::names::Name;
/// let name: Name = "canny_low".parse()?;
/// assert_eq!(name.as_str(), "canny_low");
/// assert!("Canny Low".parse::<Name>().is_err());
/// # Ok::<(), lkas_messages::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "heapless::String<MAX_NAME>", into = "heapless::String<MAX_NAME>")]
pub struct Name(heapless::String<MAX_NAME>);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if let Some(found) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_')) {
            return Err(NameError::Character { found });
        }
        let name = heapless::String::try_from(text).map_err(|_| NameError::TooLong { length: text.len() })?;
        Ok(Self(name))
    }
}

impl TryFrom<heapless::String<MAX_NAME>> for Name {
    type Error = NameError;

    fn try_from(text: heapless::String<MAX_NAME>) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for heapless::String<MAX_NAME> {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which server a parameter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The detection server: how lane lines are found.
    Detection,
    /// The decision server: how they are turned into steering.
    Decision,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 2] = [Self::Detection, Self::Decision];

    /// The category's name, which is also its topic on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detection => "detection",
            Self::Decision => "decision",
        }
    }
}

impl AsRef<str> for Category {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

impl FromStr for Category {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let found: Name = text.parse()?;
        Self::ALL
            .into_iter()
            .find(|category| category.name() == text)
            .ok_or(NameError::Unknown { found, expected: "a category; there are detection and decision" })
    }
}

/// A number that can be changed while the system runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// The server that it belongs to.
    pub category: Category,
    /// Its name on the wire.
    pub name: &'static str,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// The value until somebody changes it.
    pub default: f64,
    /// What it does, for people.
    pub help: &'static str,
}

const fn parameter(
    category: Category,
    name: &'static str,
    (min, max): (f64, f64),
    default: f64,
    help: &'static str,
) -> Parameter {
    Parameter { category, name, min, max, default, help }
}

/// Every parameter in use, with the range that a slider offers and its default.
pub const PARAMETERS: &[Parameter] = &[
    parameter(Category::Detection, "canny_low", (1.0, 150.0), 50.0, "gradient at which an edge may continue"),
    parameter(Category::Detection, "canny_high", (50.0, 255.0), 150.0, "gradient at which an edge starts"),
    parameter(Category::Detection, "hough_threshold", (1.0, 150.0), 50.0, "edge points that a line needs"),
    parameter(Category::Detection, "hough_min_line_len", (10.0, 150.0), 40.0, "shortest line, in pixels"),
    parameter(Category::Detection, "smoothing_factor", (0.0, 1.0), 0.7, "share of the lines before in the new ones"),
    parameter(Category::Decision, "kp", (0.0, 2.0), 0.5, "steering for each unit of lateral offset"),
    parameter(Category::Decision, "kd", (0.0, 1.0), 0.1, "steering for each unit of heading angle"),
    parameter(Category::Decision, "throttle_base", (0.0, 0.5), 0.14, "throttle while going straight"),
    parameter(Category::Decision, "throttle_min", (0.0, 0.2), 0.05, "throttle while steering hard"),
    parameter(Category::Decision, "steer_threshold", (0.0, 0.5), 0.15, "steering at which the throttle falls"),
    parameter(Category::Decision, "steer_max", (0.0, 1.0), 0.70, "largest steering"),
];

impl Parameter {
    /// The parameter of that category and name.
    ///
    /// # Errors
    /// A malformed, overlong or unknown name.
    pub fn find(category: Category, name: &str) -> Result<&'static Self, NameError> {
        let found: Name = name.parse()?;
        let expected = match category {
            Category::Detection => {
                "a parameter of detection; there are canny_low, canny_high, hough_threshold, hough_min_line_len and \
                 smoothing_factor"
            }
            Category::Decision => {
                "a parameter of decision; there are kp, kd, throttle_base, throttle_min, steer_threshold and steer_max"
            }
        };
        PARAMETERS
            .iter()
            .find(|parameter| parameter.category == category && parameter.name == name)
            .ok_or(NameError::Unknown { found, expected })
    }

    /// `value` in this parameter's range: clamped; `None` where it is not finite.
    #[must_use]
    pub fn accept(&self, value: f64) -> Option<f64> {
        value.is_finite().then(|| value.clamp(self.min, self.max))
    }
}

/// A parameter's or an action's name can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// No character at all.
    Empty,
    /// Longer than [`MAX_NAME`] bytes.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A character that is not a lower-case letter, a digit or an underscore.
    Character {
        /// The first such character.
        found: char,
    },
    /// Well formed, but nobody knows it.
    Unknown {
        /// The name found.
        found: Name,
        /// What it should have been the name of.
        expected: &'static str,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = MAX_NAME;
        match self {
            Self::Empty => write!(f, "an empty name, expected 1 to {max} of a-z, 0-9 and _"),
            Self::TooLong { length } => write!(f, "a name of {length} bytes, expected at most {max}"),
            Self::Character { found } => write!(f, "a name with {found:?} in it, expected only a-z, 0-9 and _"),
            Self::Unknown { found, expected } => write!(f, "\"{found}\" is not {expected}"),
        }
    }
}

impl core::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::ToString};

    #[test]
    fn overlong_empty_and_odd_names_are_errors() {
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
        assert_eq!("a".repeat(33).parse::<Name>(), Err(NameError::TooLong { length: 33 }));
        assert_eq!("kp\0".parse::<Name>(), Err(NameError::Character { found: '\0' }));
        assert_eq!("a".repeat(32).parse::<Name>().unwrap().to_string(), "a".repeat(32));
    }

    #[test]
    fn names_are_checked_when_decoded_too() {
        assert!(serde_json::from_str::<Name>("\"kp\"").is_ok());
        assert!(serde_json::from_str::<Name>("\"KP\"").is_err());
        assert!(serde_json::from_str::<Name>(&format!("\"{}\"", "a".repeat(40))).is_err());
    }

    #[test]
    fn unknown_parameters_are_errors_that_name_the_known_ones() {
        assert_eq!(Parameter::find(Category::Decision, "kp").unwrap().default, 0.5);
        let error = Parameter::find(Category::Detection, "kp").unwrap_err().to_string();
        assert!(error.contains("\"kp\"") && error.contains("canny_low"), "{error}");
        for parameter in PARAMETERS {
            let error = Parameter::find(parameter.category, "nothing").unwrap_err().to_string();
            assert!(error.contains(parameter.name), "{error}");
        }
    }

    #[test]
    fn values_are_clamped_to_the_range() {
        let kp = Parameter::find(Category::Decision, "kp").unwrap();
        assert_eq!((kp.accept(5.0), kp.accept(-1.0), kp.accept(0.3)), (Some(2.0), Some(0.0), Some(0.3)));
        assert_eq!((kp.accept(f64::NAN), kp.accept(f64::INFINITY)), (None, None));
    }
}
